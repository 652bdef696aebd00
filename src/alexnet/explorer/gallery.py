"""The models that are explored together, and the pictures that they are shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from secrets import token_urlsafe
from threading import Lock
from typing import Any

from alexnet.explorer.study import Study
from alexnet.images.decode import MAX_PIXELS
from alexnet.images.views import read_centre
from alexnet.writing import printable

MOST_OWN = 32
"""Pictures that visitors may have here at a time; the oldest goes."""


class Gallery:
    """Pictures under keys, cut out for each of the studies as its own view says.

    Those of `paths` stay. Raises PictureError for one that cannot be read.
    """

    def __init__(self, studies: Sequence[Study], paths: Sequence[Path]) -> None:
        self.studies = tuple(studies)
        self.chosen: dict[str, str] = {}  # key -> name
        self._own: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()
        for index, (path, name) in enumerate(zip(paths, told_apart(paths), strict=True), 1):
            self._show(f"picture-{index}", path)
            self.chosen[f"picture-{index}"] = name

    def about(self, *, static: bool) -> dict[str, Any]:
        """What the page is told first; `static` where no server answers it."""
        return {
            "static": static,
            "models": [study.about() for study in self.studies],
            "pictures": [{"key": key, "name": name} for key, name in self.chosen.items()],
        }

    def add(self, content: bytes, *, max_pixels: int = MAX_PIXELS) -> str:
        """Take on a visitor's picture file: its key. Raises PictureError where it cannot be read."""
        key = f"own-{token_urlsafe(12)}"  # which no other visitor can guess
        self._show(key, content, max_pixels=max_pixels)
        with self._lock:
            self._own[key] = None
            gone = [self._own.popitem(last=False)[0] for _ in range(len(self._own) - MOST_OWN)]
        for each in gone:
            for study in self.studies:
                study.forget(each)
        return key

    def _show(self, key: str, source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> None:
        crops = [
            read_centre(source, view=study.weights.view, max_pixels=max_pixels) for study in self.studies
        ]
        for study, crop in zip(self.studies, crops, strict=True):
            study.add(key, crop)


def told_apart(paths: Sequence[Path]) -> list[str]:
    """What to call each of some paths: as little of its end as tells it from the others.

    >>> told_apart([Path("photos/cat/1.jpg"), Path("photos/dog/1.jpg"), Path("photos/dog/2.jpg")])
    ['cat/1.jpg', 'dog/1.jpg', '2.jpg']
    """
    parts = [each.parts for each in paths]
    names: list[str] = []
    for place, own in enumerate(parts):
        length = 1
        while length < len(own) and any(each[-length:] == own[-length:] for each in parts if each != own):
            length += 1
        times = parts[: place + 1].count(own)
        names.append(printable(str(Path(*own[-length:]))) + (f", {times}" if times > 1 else ""))
    return names
