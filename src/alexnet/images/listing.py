"""A CSV that lists pictures, a row each: path, label and perhaps split. Found and checked, not decoded."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from alexnet.errors import DataError
from alexnet.images.sources import SPLIT_NAMES, ClassFiles, Source, listed

LISTING_SUFFIXES = frozenset((".csv", ".tsv"))
"""The endings, in lower case, of what is taken for a listing. The header tells the delimiter."""

_COLUMNS = {  # what each may be called, in any case
    "path": ("path", "file", "image", "filename", "filepath", "file_name", "image_path", "image_name"),
    "label": ("label", "class", "labels", "category", "class_name"),
    "split": ("split",),
}
_DELIMITERS = ",;\t"  # a spreadsheet writes a semicolon where the comma is the decimal point

Row = tuple[int, Mapping[str, str]]
"""A row's line number, from 1, and its cells by the columns' names above."""


def open_listing(path: Path) -> Source:
    """Read a CSV of picture files, whose paths are relative to the CSV's folder, and check every row.

    Its header names a column path (or file, image, filename) and one label (or class); with a column split
    every row says which of SPLIT_NAMES it is of. Other columns are passed over. Raises
    `DataError`, with the line, where a column or a cell is missing or unknown or a file is listed twice; and
    where the file is empty or not UTF-8, or files are not there.
    """
    root = path.parent
    lines: dict[str, int] = {}  # by the whole path
    missing: list[tuple[int, str]] = []
    found: dict[str, dict[str, list[Path]]] = {}
    for line, cells in _rows(path):
        split = _split(path, line, cells)
        for column in ("path", "label"):
            if not cells[column]:
                raise DataError(
                    f"{path}: line {line}: no {column}; every row must have one; fill or delete it"
                )
        file = root / cells["path"]
        whole = os.path.abspath(file)  # noqa: PTH100  # links stay what they are
        if whole in lines:
            raise DataError(
                f"{path}: line {line}: {cells['path']} is on line {lines[whole]} already; each picture must "
                f"be listed once; delete one row"
            )
        lines[whole] = line
        if not os.path.isfile(file):  # noqa: PTH113  # Path.is_file may raise
            missing.append((line, cells["path"]))
        found.setdefault(split, {}).setdefault(cells["label"], []).append(file)
    if not lines:
        raise DataError(f"{path}: no rows; it must have one for each picture below its header")
    if missing:
        line, name = missing[0]
        verb = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{path}: line {line}: no file {name} ({len(missing):,} of {len(lines):,} {verb} not there); "
            f"paths must be whole, or relative to {root}; mend or delete these rows"
        )
    tables = {split: dict(sorted(classes.items())) for split, classes in found.items()}

    def read(split: str | None) -> ClassFiles:
        return tables[split or ""]

    return Source(path=path, root=root, splits={split: path for split in tables if split}, read=read)


def _split(path: Path, line: int, cells: Mapping[str, str]) -> str:
    if "split" not in cells:
        return ""
    split = SPLIT_NAMES.get(cells["split"].lower())
    if split is None:
        raise DataError(
            f"{path}: line {line}: split is '{cells['split']}'; it must be one of {', '.join(SPLIT_NAMES)}"
        )
    return split


def _rows(path: Path) -> Iterator[Row]:
    """Yield the rows that are not blank, cells without the spaces around them."""
    text = _text(path)
    first = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        places = _places(path, [name.strip().lower() for name in header])
        line = reader.line_num + 1
        for row in reader:
            if any(cell.strip() for cell in row):
                cells = {name: row[at].strip() if at < len(row) else "" for name, at in places.items()}
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not CSV ({error}); save it as CSV again") from error


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it must be a readable file") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); save it as CSV in UTF-8"
        ) from error
    if not text.strip():
        raise DataError(f"{path}: empty; it must have a header such as path,label and a row for each picture")
    return text


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Return where the columns are; only split may be missing."""
    places: dict[str, int] = {}
    for column, names in _COLUMNS.items():
        present = [at for at, name in enumerate(header) if name in names]
        if len(present) > 1:
            both = " and ".join(header[at] for at in present)
            raise DataError(
                f"{path}: line 1: columns {both}; only one may be the {column}; delete the others"
            )
        if present:
            places[column] = present[0]
        elif column != "split":
            raise DataError(
                f"{path}: line 1: columns {listed(header)}; one must be the {column}, called "
                f"{' or '.join(names)}; the first line must name them"
            )
    return places
