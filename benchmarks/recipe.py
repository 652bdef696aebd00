"""What each choice of the default recipe gains: the run as it is, and again without one choice at a time.

    python benchmarks/recipe.py imagenette --epochs 10 --output runs/gains

Every run is an `alexnet train --resume` in a folder of its own: stopped at any time, the same command goes on
where it was, and runs that are done are not run again.
"""

from __future__ import annotations

import argparse
import csv
import signal
import subprocess
import sys
from pathlib import Path
from statistics import mean

from alexnet.learning import runs

DEFAULT = "default"
REFUSED = 2  # how `alexnet train` ends where it cannot go on
WITHOUT = {
    "mirror images": "mirror=false",
    "crops of any size and place": "crop=centre",
    "their size (shifted only)": "crop=shifted",
    "contrast and brightness": "jitter=0",
    "dropout": "dropout=0",
    "label smoothing": "label_smoothing=0",
    "weight decay": "weight_decay=0",
    "mean of the weights": "averaging=0",
    "warm-up": "warmup=0",
    "variety that builds up": "build_up=0",
    "small pictures first": "smallest_side=1",
}
"""Each choice, and what takes it out of the default recipe."""
OTHERS = {
    "cutmix in half of the steps": ("--with", "cutmix=0.5"),
    "twice the weight decay": ("--with", "weight_decay=1e-3"),
    "both": ("--recipe", "long"),
    "the recipe of 2012": ("--recipe", "paper"),
}
"""What was tried and is not in it."""


def accuracy(folder: Path) -> float:
    """Top-1 on the validation pictures after the last epoch, 0 to 1."""
    with (folder / runs.METRICS).open(encoding="utf-8", newline="") as lines:
        return float(list(csv.DictReader(lines))[-1]["validation_accuracy"])


def train(arguments: list[str], folder: Path, *, seeds: int) -> list[float]:
    """Train once for each seed, and give the accuracies of those that trained."""
    found = []
    for seed in range(seeds):
        output = folder / str(seed)
        command = [sys.executable, "-m", "alexnet", "train", *arguments]
        code, last = run([*command, "--seed", str(seed), "--output", str(output), "--resume"])
        if code == REFUSED and "loss" in last:
            continue  # it is not finite, or does not leave chance
        if code:
            sys.exit(code)
        found.append(accuracy(output))
    return found


def run(command: list[str]) -> tuple[int, str]:
    """How a command ended, and the last line that it said; Ctrl-C is the command's to end with."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        last = ""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            for last in process.stderr:
                sys.stderr.write(last)
        finally:
            signal.signal(signal.SIGINT, before)
    return process.returncode, last


def row(name: str, found: list[float], gain: float | None = None) -> str:
    """A line of the table: the accuracy, and what the choice gains."""
    if not found:
        return f"| {name} | did not train | |"
    spread = f" ({min(found):.1%} to {max(found):.1%})" if len(found) > 1 else ""
    return f"| {name} | {mean(found):.1%}{spread} | {'' if gain is None else f'{gain * 100:+.1f}'} |"


def main() -> None:
    """Train them all, and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each, whose mean is shown")
    parser.add_argument("--only", action="append", choices=[*WITHOUT, *OTHERS], help="repeatable")
    parser.add_argument("--output", type=Path, required=True, help="the folder of the runs' folders")
    told, more = parser.parse_known_args()
    common = [told.data, "--epochs", str(told.epochs), *more]

    def tried(name: str, *options: str) -> list[float]:
        folder = told.output / "".join(letter if letter.isalnum() else "-" for letter in name)
        return train([*common, *options], folder, seeds=told.seeds)

    usual = tried(DEFAULT)
    if not usual:
        sys.exit("recipe.py: the default recipe did not train; nothing to compare with")
    head = "| {} | validation | gain, points |\n| --- | ---: | ---: |"
    lines = [head.format("without"), row(DEFAULT, usual)]
    for name, text in WITHOUT.items():
        if told.only is None or name in told.only:
            found = tried(name, "--with", text)
            lines.append(row(name, found, mean(usual) - mean(found) if found else None))
    lines += ["", head.format("with")]
    for name, options in OTHERS.items():
        if told.only is None or name in told.only:
            found = tried(name, *options)
            lines.append(row(name, found, mean(found) - mean(usual) if found else None))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
