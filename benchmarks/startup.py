"""How long whole processes take, beside the same with torch: a summary, and one picture's answer."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch
from PIL import Image

from alexnet import NOTES
from alexnet.inference.benchmark import exported_models
from alexnet.learning.weights import untrained_weights

ROUNDS = 7

LAYERS = """
from torch import nn
layers = nn.Sequential(
    nn.Conv2d(3, 96, 11, 4), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(96, 256, 5), nn.ReLU(),
    nn.MaxPool2d(3, 2), nn.Conv2d(256, 384, 3), nn.ReLU(), nn.Conv2d(384, 384, 3), nn.ReLU(),
    nn.Conv2d(384, 256, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(1024, 4096),
    nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000))
"""
SUMMARY = f"""{LAYERS}
from torchinfo import summary
summary(layers, (1, 3, 227, 227))
"""
ANSWER = f"""{LAYERS}
import sys
import numpy as np
import torch
from PIL import Image
weights, photo = sys.argv[1:]
layers.load_state_dict(torch.load(weights, weights_only=True))
image = Image.open(photo).convert("RGB")
scale = 256 / min(image.size)
image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
left, top = (image.width - 227) // 2, (image.height - 227) // 2
pixels = torch.from_numpy(np.array(image.crop((left, top, left + 227, top + 227)))).permute(2, 0, 1)
with torch.inference_mode():
    print(layers.eval()((pixels[None] / 255 - 0.45) / 0.25).softmax(1).topk(5))
"""


def seconds(command: list[str]) -> float:
    """Of one run, from start to end."""
    started = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def compare(ours: list[str], theirs: list[str], *, names: tuple[str, str]) -> None:
    """Print the medians of both and their ratio, after a warm-up of each."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(-1, ROUNDS):
        for taken, command in zip(times, (ours, theirs), strict=True):
            each = seconds(command)
            if turn >= 0:
                taken.append(each)
    for name, taken in zip(names, times, strict=True):
        print(
            f"{name:<24} {median(taken) * 1000:6.0f} ms  ({min(taken) * 1000:.0f} to {max(taken) * 1000:.0f})"
        )
    print(f"ratio {median(times[0]) / median(times[1]):.3f}\n")


def main() -> None:
    """The summary, then a photograph's answer from a file."""
    alexnet = [sys.executable, "-m", "alexnet"]
    compare(
        [*alexnet, "summary", "notes"],
        [sys.executable, "-c", SUMMARY],
        names=("alexnet summary", "torch + torchinfo"),
    )
    with tempfile.TemporaryDirectory(prefix="alexnet-benchmark-") as folder:
        model, state, photo = (Path(folder, name) for name in ("model.onnx", "model.pth", "photo.jpg"))
        weights = untrained_weights(NOTES)
        model.write_bytes(exported_models(weights)[1])
        layers = torch.nn.Sequential(*list(weights.model.children())[1:])  # without the normalisation
        torch.save(layers.state_dict(), state)
        pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photo)
        compare(
            [*alexnet, "predict", str(model), str(photo)],
            [sys.executable, "-c", ANSWER, str(state), str(photo)],
            names=("alexnet predict, int8", "torch script"),
        )


if __name__ == "__main__":
    main()
