"""How long `alexnet summary` takes beside torch with torchinfo on the same network: whole processes."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

ROUNDS = 7

OURS = [sys.executable, "-m", "alexnet", "summary", "notes"]
THEIRS = """
from torch import nn
from torchinfo import summary
layers = [nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5), nn.ReLU(),
          nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3), nn.ReLU(), nn.Conv2d(384, 384, 3), nn.ReLU(),
          nn.Conv2d(384, 256, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(1024, 4096),
          nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
summary(nn.Sequential(*layers), (1, 3, 227, 227))
"""


def seconds(command: list[str]) -> float:
    """Of one run, from start to end."""
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def main() -> None:
    """Print the medians and their ratio, after a warm-up of each."""
    ways = {"alexnet summary": OURS, "torch + torchinfo": [sys.executable, "-c", THEIRS]}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, ROUNDS):
        for name, command in ways.items():
            taken = seconds(command)
            if turn >= 0:
                times[name].append(taken)
    ours, theirs = (median(each) for each in times.values())
    for name, each in times.items():
        print(f"{name:<18} {median(each) * 1000:6.0f} ms  ({min(each) * 1000:.0f} to {max(each) * 1000:.0f})")
    print(f"ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
