"""write_site(gallery, folder): the explorer as files that open from a disk, and from any web host.

What the served page asks a server for stands ready in files: for the chosen pictures, for the usual changes,
and of the units of large fully connected layers for those that answer strongest.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np

from alexnet.architecture.tour import MISPRINTED
from alexnet.explorer.gallery import Gallery
from alexnet.explorer.page import standing_page
from alexnet.explorer.study import Study, Values
from alexnet.writing import check_folder, in_a_line, write_together

MOST_WEIGHTS = 2_000_000
"""Of a layer whose kernels are all there; of a larger one, those of its strongest units."""

_UNITS = 24  # of a large layer, for each picture


def write_site(
    gallery: Gallery, folder: str | Path, *, on_progress: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write index.html and its data into a folder, all of it or nothing: the paths.

    Raises OutputError where that fails.
    """
    check_folder(folder)
    files = {"index.html": standing_page().encode()}
    for name, value in _data(gallery, on_progress):
        # A script: a page that was opened from a disk may load those, and may not fetch.
        told = json.dumps(value, separators=(",", ":"))
        files[f"{file_name(name)}.js"] = f"explorerData({json.dumps(name)},{told});\n".encode()
    write_together(folder, files)
    return [Path(folder) / name for name in files]


def file_name(asked: str) -> str:
    """The file, without its ending, of what the page asks for under a path."""
    return "data-" + asked.replace("/", "-")


def _data(gallery: Gallery, on_progress: Callable[[str], None]) -> Iterator[tuple[str, Any]]:
    yield "about", gallery.about(static=True)
    for index, study in enumerate(gallery.studies):
        place = f"models/{index}"
        on_progress(f"{study.name}: usual changes")
        yield f"{place}/what-if", _outcomes(study)
        for key, name in gallery.chosen.items():
            on_progress(f"{study.name}: {in_a_line(name)}")
            yield from _picture(study, f"{place}/pictures/{key}", key)
        for row in study.summary.layers:
            if row.weights:
                on_progress(f"{study.name}: {row.name}")
                yield f"{place}/kernels/{row.name}", _kernels(study, row.name, list(gallery.chosen))


def _outcomes(study: Study) -> dict[str, Any]:
    """What becomes of each usual change, of what mends it where it breaks the network, of the notes' slips.

    Of several settings also what is left where some are taken back.
    """
    changes = study.about()["changes"]
    wanted: list[tuple[str, ...]] = [(change,) for change in changes]
    wanted += [(change, *route) for change in changes for route in study.what_if(change).routes]
    if set(MISPRINTED) <= set(changes):
        for both in permutations(MISPRINTED):
            wanted += [both, *((*both, *route) for route in study.what_if(*both).routes)]
    outcomes: dict[str, Any] = {}
    for settings in wanted:
        # Of settings of one field the last counts, in the place of the first: as in whatif.js.
        last = list({each.partition("=")[0]: each for each in settings}.values())
        for count in range(1, len(last) + 1):
            for some in combinations(last, count):
                asked = "&".join(some)
                if asked not in outcomes:
                    outcomes[asked] = study.what_if(*some).to_dict()
    return outcomes


def _picture(study: Study, place: str, key: str) -> Iterator[tuple[str, Any]]:
    look = study.look(key)
    yield place, look
    for layer in look["layers"]:
        yield f"{place}/maps/{layer}", _coded(study.maps(key, layer))
    cam = study.about()["cam"]
    if cam is not None:
        for answer in look["answers"]:
            label = answer["label"]
            yield f"{place}/cam/{cam}/{label}", _coded(study.cam(key, cam, label))


def _kernels(study: Study, layer: str, keys: list[str]) -> dict[str, Any]:
    """Kernels one behind the other, and whose they are."""
    row = next(each for each in study.summary.layers if each.name == layer)
    units = range(row.output[-1])
    if row.weights > MOST_WEIGHTS and len(row.output) == 1:
        # Behind a ReLU the strongest are the same, as far as they answer at all.
        answers = [study.maps(key, layer) for key in keys]
        units = sorted({int(unit) for each in answers for unit in np.argsort(-each)[:_UNITS]})  # type: ignore[assignment]
    kernels = [study.kernel(layer, unit) for unit in units]
    shape = list(kernels[0].weights.shape) if kernels else []
    weights = np.stack([each.weights for each in kernels]) if kernels else np.zeros(0, np.float32)
    return {
        "units": list(units),
        "biases": [each.bias for each in kernels],
        "kernel": shape,
        **_coded(weights),
    }


def _coded(values: Values) -> dict[str, Any]:
    return {
        "shape": list(values.shape),
        "values": base64.b64encode(values.astype("<f4").tobytes()).decode(),
    }
