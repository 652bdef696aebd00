"""Makes the pictures of docs/inside.md: python docs/pictures.py WEIGHTS, those of a run on Imagenette.

    alexnet train imagenette --epochs 70 --with cutmix=0.5 --with weight_decay=1e-3 --output runs/imagenette
    python docs/pictures.py runs/imagenette/best.safetensors

What the network looks at is drawn here: photographs belong to their makers. It has never seen a drawing. The
page of the explorer is photographed in Debian's chromium.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from math import cos, pi, sin
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import sync_playwright

from alexnet.explorer.explore import open_gallery
from alexnet.explorer.site import write_site
from alexnet.inside.visualize import visualize
from alexnet.learning.weights import load_weights, save_weights

DOCS = Path(__file__).parent
NAMES = (  # Imagenette's classes, whose folders are called by their WordNet numbers, in that order
    *("tench", "English springer", "cassette player", "chain saw", "church"),
    *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
)
_SIDE = 400  # pixels of what is drawn three times as large
_SIDES = ("picture", "grad-cam", "occlusion", "integrated-gradients")
_GAP = 8  # pixels between them


def main(weights: Path) -> None:
    """Write docs/answer.png, docs/kernels.png and docs/explorer.png."""
    with TemporaryDirectory() as folder:
        picture, named, seen = (
            Path(folder) / name for name in ("parachute.png", "notes.safetensors", "seen")
        )
        parachute().save(picture)
        save_weights(named, replace(load_weights(weights), class_names=NAMES))
        visualize(load_weights(named), picture, output=seen)
        sides = [Image.open(seen / f"{name}.png").convert("RGB") for name in _SIDES]
        beside(sides).quantize(256).save(DOCS / "answer.png", optimize=True)
        shutil.copyfile(seen / "kernels-conv1.png", DOCS / "kernels.png")
        site = write_site(open_gallery([named], [picture]), Path(folder) / "site")[0]
        photograph(site.as_uri(), DOCS / "explorer.png")


def photograph(address: str, path: Path) -> None:
    """The explorer at conv2, its answer chosen, as a picture."""
    program = shutil.which("chromium") or sys.exit("pictures.py: chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1560})
        page.goto(address)
        page.locator(".strip [data-layer=conv2]").click()
        page.wait_for_selector(".view[data-ready='layer conv2 picture-1']")
        page.locator(".answers button").first.click()
        page.get_by_role("img", name="Grad-CAM").wait_for()
        page.mouse.move(0, 0)
        page.screenshot(path=str(path))
        browser.close()
    shown = Image.open(path).convert("RGB")
    shown.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Square pictures side by side, half as large."""
    side = pictures[0].width // 2
    whole = Image.new("RGB", (len(pictures) * (side + _GAP) - _GAP, side), "white")
    for place, each in enumerate(pictures):
        whole.paste(each.resize((side, side), Image.Resampling.LANCZOS), (place * (side + _GAP), 0))
    return whole


def parachute() -> Image.Image:
    """A parachute in seven gores under a sky with clouds, and who hangs from it."""
    random = np.random.default_rng(3)
    image = Image.fromarray(sky(random, 3 * _SIDE))
    draw = ImageDraw.Draw(image)
    middle, base, radius, height = 580, 450, 320, 250
    hands = (610, 840)
    colours = ["#d6342d", "#f5f0e6", "#e9a028", "#f5f0e6", "#2658aa", "#f5f0e6", "#d6342d"]
    seams = np.linspace(-1, 1, len(colours) + 1)
    for left, right, colour in zip(seams[:-1], seams[1:], colours, strict=True):
        up = [_on_canopy(middle, base, left * radius, height, share) for share in np.linspace(0, 1, 40)]
        down = [_on_canopy(middle, base, right * radius, height, share) for share in np.linspace(1, 0, 40)]
        hem = [
            (middle + radius * (right + (left - right) * share), base - 88 * share * (1 - share))
            for share in np.linspace(0, 1, 12)
        ]
        draw.polygon([*up, *down, *hem], fill=_shaded(colour, 1 - 0.35 * abs(left + right) / 2))
    for seam in seams:
        draw.line([(middle + seam * radius, base), hands], fill="#3c3c46", width=3)
    x, y = hands
    draw.ellipse([x - 16, y - 6, x + 16, y + 26], fill="#966e55")
    draw.rounded_rectangle([x - 24, y + 24, x + 24, y + 95], 14, fill="#282d3c")
    draw.line([(x - 12, y + 90), (x - 18, y + 150)], fill="#282d3c", width=16)
    draw.line([(x + 12, y + 90), (x + 20, y + 148)], fill="#282d3c", width=16)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(1.6)), np.float64)
    grained = soft + random.normal(0, 5, (*soft.shape[:2], 1))
    large = Image.fromarray(grained.clip(0, 255).astype(np.uint8))
    return large.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def sky(random: np.random.Generator, side: int) -> npt.NDArray[np.uint8]:
    """Blue that is paler below, and clouds: noise of four sizes."""
    down = np.linspace(0, 1, side)[:, None, None]
    blue = np.array([70, 130, 205]) + np.array([110, 80, 35]) * down
    noise = np.zeros((side, side))
    for octave in range(4):
        coarse = Image.fromarray(random.random((4 << octave, 4 << octave), np.float32))
        noise += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC)) / (1 << octave)
    cloud = ((noise - noise.mean()) * 2).clip(0, 0.8)[:, :, None]
    covered: npt.NDArray[np.uint8] = (blue * (1 - cloud) + 245 * cloud).clip(0, 255).astype(np.uint8)
    return covered


def _on_canopy(middle: int, base: int, reach: float, height: int, share: float) -> tuple[float, float]:
    """A point of a seam that begins `reach` beside the middle; `share` of it upwards."""
    return middle + reach * cos(pi / 2 * share), base - height * sin(pi / 2 * share)


def _shaded(colour: str, light: float) -> tuple[int, ...]:
    return tuple(int(int(colour[place : place + 2], 16) * light) for place in (1, 3, 5))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/pictures.py WEIGHTS")
    main(Path(sys.argv[1]))
