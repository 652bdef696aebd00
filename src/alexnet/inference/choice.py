"""Which way of answering is fastest here: measured once, remembered in the cache folder. Knows no engine."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import numpy.typing as npt

from alexnet.errors import AlexNetError
from alexnet.images.cache import cache_folder
from alexnet.images.cores import available_cores
from alexnet.learning.classifier import Run
from alexnet.writing import write_whole

PARITY = {"fp32": 1e-3, "bf16": 1e-2}
"""How far a way's logits may be from the first one's, of the largest logit: by its precision.

8 bits of mantissa, bfloat16's, round every value by up to 0.4 %.
"""

_ROUNDS = 3
_FILE = "engines.json"


@dataclass(frozen=True, kw_only=True)
class Way:
    """An engine and what it computes in."""

    engine: str
    precision: str  # fp32, bf16; "auto" for a file that says it itself

    def __str__(self) -> str:
        return self.engine if self.precision == "auto" else f"{self.engine} in {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The fastest way, and what was measured of all of them."""

    way: Way
    run: Run  # it, opened
    rates: Mapping[Way, float]  # pictures a second; those that agree with the first
    left_out: Mapping[Way, str]  # why, of the others

    def __str__(self) -> str:
        """All that were measured, the fastest first."""
        order = sorted(self.rates.items(), key=lambda each: -each[1])
        return ", ".join(f"{way}: {rate:.0f} pictures/s" for way, rate in order)


def fastest(
    ways: Mapping[Way, Callable[[], Run]], batch: npt.NDArray[np.uint8], *, rounds: int = _ROUNDS
) -> Choice:
    """Time the ways by turns on `batch`, uint8 (N, H, W, 3); the first one says what is right.

    A way that cannot be opened, or whose logits are farther from the first's than PARITY allows, is left out.
    Raises what the first one raises.
    """
    opened: dict[Way, Run] = {}
    left_out: dict[Way, str] = {}
    right: npt.NDArray[np.float32] | None = None
    for way, open_way in ways.items():
        try:
            run = open_way()
            logits = run(batch)  # also warms up
        except Exception as error:
            if right is None:
                raise
            # Engines raise their own, of many kinds; the others answer.
            left_out[way] = " ".join(str(error).split())[:200]
            continue
        if right is None:
            right = logits
            opened[way] = run
            continue
        apart = float(np.abs(logits - right).max() / (np.abs(right).max() or 1))
        allowed = PARITY.get(way.precision, max(PARITY.values()))
        if apart <= allowed:
            opened[way] = run
        else:
            left_out[way] = f"its logits differ by {apart:.2g} of the largest; at most {allowed:g} may be"
    seconds: dict[Way, list[float]] = {way: [] for way in opened}
    for _ in range(rounds):
        for way, run in opened.items():
            started = perf_counter()
            run(batch)
            seconds[way].append(perf_counter() - started)
    rates = {way: len(batch) / median(each) for way, each in seconds.items()}
    best = max(rates, key=rates.__getitem__)
    return Choice(way=best, run=opened[best], rates=rates, left_out=left_out)


def key_of(what: Mapping[str, object], packages: Sequence[str]) -> str:
    """Under what a choice for `what` is remembered: another machine or version has another."""
    told = {
        **what,
        "processor": _processor(),
        "cores": available_cores(),
        "versions": {name: _version(name) for name in ("alexnet", *packages)},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def anything_kept() -> bool:
    """Whether `recall` may know something: without a key, which takes a while to make."""
    try:
        return _path().exists()
    except (OSError, AlexNetError):  # a folder that may not be entered, or none at all
        return False


def recall(key: str) -> Way | None:
    """What was chosen under that key; None where nothing was, or it cannot be read."""
    found = _read().get(key)
    if not isinstance(found, dict):
        return None
    engine, precision = found.get("engine"), found.get("precision")
    if not isinstance(engine, str) or not isinstance(precision, str):
        return None
    return Way(engine=engine, precision=precision)


def remember(key: str, choice: Choice) -> bool:
    """Keep a choice for `recall`; where the cache folder cannot be written, it is measured again: False."""
    entry = {
        "engine": choice.way.engine,
        "precision": choice.way.precision,
        "pictures_per_second": {str(way): round(rate, 1) for way, rate in choice.rates.items()},
        "left_out": {str(way): reason for way, reason in choice.left_out.items()},
    }
    try:
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(_read() | {key: entry}, indent=2))
    except (AlexNetError, OSError):
        return False
    return True


def _path() -> Path:
    return cache_folder() / _FILE


def _read() -> dict[str, object]:
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, AlexNetError):
        return {}
    return found if isinstance(found, dict) else {}


def _processor() -> str:
    """What the processor calls itself; on Linux the kernel knows, elsewhere Python may."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # only who has a choice waits for it

    try:
        return version(package)
    except PackageNotFoundError:
        return None
