"""What a table's cell says of a layer in words: 96 filters of 11x11, stride 4, pad 2."""

from __future__ import annotations

import re

from alexnet.architecture.quantities import TIMES

_COUNT = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_WINDOW = rf"\d+\s*[{TIMES}]\s*\d+(?:\s*[{TIMES}]\s*\d+)?"
_FILTERS = r"(?:filters?|kernels?|(?:feature |output )?maps?|(?:output )?channels?)"
_IS = r"\s*(?:of|is|=|:)?\s*"

# In this order: what one has read is not there for the next.
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"\b(?P<filters>{_COUNT})\s*@\s*(?P<kernel>{_WINDOW})",
        rf"\b(?P<filters>{_COUNT})\s*{_FILTERS}\s*(?:of(?: size)?|with|,|:)?\s*\(?(?P<kernel>{_WINDOW})\)?",
        rf"\b(?P<filters>{_COUNT})\s*,?\s+(?P<kernel>{_WINDOW})",
        rf"\b(?P<kernel>{_WINDOW})\s*/\s*(?P<stride>\d+)",
        rf"\b(?P<kernel>{_WINDOW})\s*,\s*(?P<filters>\d{{2,4}})(?=\s*(?:,|$))",  # as of residual networks
        rf"\b(?P<kernel>{_WINDOW})",
        r"\bf\s*=\s*(?P<kernel>\d+)\b",
        rf"\b(?:strides?|s){_IS}(?P<stride>\d+(?:\s*[{TIMES}]\s*\d+)?)\b",
        rf"\b(?:padding|pad|p){_IS}(?P<padding>\d+|same|valid)\b",
        r"\b(?P<padding>same|valid) padding\b",
        rf"\bgroups?{_IS}(?P<groups>\d+)\b",
        r"\b(?P<groups>\d+) groups\b",
        rf"\b(?P<units>{_COUNT})\s*(?:units?|neurons?|nodes?|outputs?|-d)\b",
        rf"\b(?P<filters>{_COUNT})\s*{_FILTERS}\b",
    )
)
_NAME = re.compile(r"\b[a-z_]+\d\w*", re.IGNORECASE)  # conv1, Conv2D, ReLU6: its digits are no figures


def described(text: str) -> dict[str, str] | None:
    """The figures that words tell, by the names of claims; None where there are others.

    >>> described("96 filters of 11x11, stride 4, padding=0")
    {'filters': '96', 'kernel': '11x11', 'stride': '4', 'padding': '0'}
    >>> described("Conv2D"), described("3x3 by steps of 2")
    ({}, None)
    """
    found: dict[str, str] = {}
    for form in _FORMS:
        match = form.search(text)
        if match is None or any(name in found for name in match.groupdict()):
            continue
        found |= match.groupdict()
        text = f"{text[: match.start()]} , {text[match.end() :]}"
    return None if re.search(r"\d", _NAME.sub("", text)) else found
