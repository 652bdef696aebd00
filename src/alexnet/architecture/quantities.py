"""Figures as people print them: 34,848 and 34.8K, 1.05 G, 4.49 x 10^10, 233 MB, 55x55x96, (96, 55, 55).

A printed figure claims no more digits than it shows; `agreement` judges by that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from alexnet.architecture.network import Shape

Agreement = Literal["exact", "rounded"]

# What a suffix or a word multiplies by. Case matters for none: nobody means milli.
_SCALES = {
    "k": 10**3,
    "thousand": 10**3,
    "thousands": 10**3,
    "m": 10**6,
    "mn": 10**6,
    "mio": 10**6,
    "million": 10**6,
    "millions": 10**6,
    "g": 10**9,
    "b": 10**9,
    "bn": 10**9,
    "billion": 10**9,
    "billions": 10**9,
    "t": 10**12,
    "trillion": 10**12,
}
_BYTE_SCALES = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
TIMES = "xX×*·⨯✕"
"""What people print for a multiplication."""

_ABOUT = re.compile(
    r"^(?:~|≈|∼|≃|about|around|approx\.?|approximately|roughly|nearly|almost|some|circa|ca\.?|over"
    r"|more than|under|less than)\s*",
    re.IGNORECASE,
)
_NUMBER = re.compile(
    r"(?P<digits>[1-9]\d{0,2}(?:[,'_ \u00a0\u2009\u202f]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?:\s*(?:e|[" + TIMES + r"]\s*10(?!0)\s*(?:\^|\*\*)?)\s*\{?\+?(?P<power>-?\d{1,3})\}?)?"
    r"\s*(?P<suffix>[a-zA-Z]*)",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"(?<=[\d)\]])\s*-?\s*(?:neurons?|units?|nodes?|channels?|pixels?|px|(?:feature )?maps?|filters?|kernels?"
    r"|features?|outputs?|classes)$",
    re.IGNORECASE,
)  # behind a shape, the word for what it counts
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_LONGEST = 200  # characters of one figure; what is longer is none


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A printed number, with the precision at which it is printed."""

    text: str  # as printed
    value: Fraction
    unit: Fraction  # what its last shown digit counts
    about: bool  # printed as an approximation
    noughts: bool = False  # whether its digits end in some
    byte_text: str = ""  # the unit of bytes that was printed: MB, MiB; empty for another kind of figure


def parse_amount(text: str) -> Amount | None:
    """The number that `text` prints, or None where it prints none.

    >>> parse_amount("34.8K").value, parse_amount("34.8K").unit
    (Fraction(34800, 1), Fraction(100, 1))
    >>> int(parse_amount("4.49 x 10^10").value)
    44900000000
    """
    printed = text.strip().strip("*`").strip()
    if len(printed) > _LONGEST:
        return None
    about = _ABOUT.match(printed)
    rest = re.sub(r"10([⁰¹²³⁴⁵⁶⁷⁸⁹]+)", lambda m: "10^" + m[1].translate(_SUPERSCRIPTS), printed)
    rest = _ABOUT.sub("", rest)
    match = _NUMBER.match(rest)
    if match is None:
        return None
    scale, byte_text = _scale(match["suffix"], rest[match.end() :])
    if scale is None:
        return None
    digits = re.sub(r"[^\d.]", "", match["digits"])
    factor = scale * Fraction(10) ** int(match["power"] or 0)
    decimals = len(digits.partition(".")[2])
    zeros = len(digits) - len(digits.rstrip("0")) if not decimals and digits.strip("0") else 0
    return Amount(
        text=printed,
        value=Fraction(digits) * factor,
        unit=Fraction(10) ** (zeros - decimals) * factor,
        about=about is not None,
        noughts=zeros > 0,
        byte_text=byte_text,
    )


def _scale(suffix: str, rest: str) -> tuple[int | Fraction | None, str]:
    """What the letters behind a number multiply it by, and the unit of bytes if they are one."""
    # "60M parameters", "61 million", "1.4 GFLOPs", "4096 neurons": the word for what is counted says nothing.
    if re.search(r"\d", rest):
        return None, ""
    if rest.lstrip().startswith("%"):
        return (None, "") if suffix else (Fraction(1, 100), "")
    word = suffix.lower()
    if word in _SCALES and word != "b":
        return _SCALES[word], ""
    if bytes_ := re.fullmatch(r"([kmgt]?i?)b(?:ytes?)?|bytes?", word):
        prefix = bytes_[1] or ""
        if prefix in _BYTE_SCALES and (prefix or word != "b"):
            return _BYTE_SCALES[prefix], suffix
    if word == "b":
        return _SCALES["b"], ""
    if counted := re.fullmatch(
        r"([kmgt]?)(?:macs?|flops?|ops?|params?|parameters?|multiply-?adds?|madds?)", word
    ):
        return _SCALES.get(counted[1], 1), ""
    if not word or word in ("neurons", "neuron", "weights", "units", "layers", "classes", "biases"):
        return 1, ""
    return None, ""


def agreement(amount: Amount, true: int | Fraction) -> Agreement | None:
    """Whether `true` is the amount, exactly or at the precision in which it is printed.

    Rounded to the nearest or cut off, as people do, but not by a tenth of itself where a round number may
    as well be the figure; an approximation may be off by its last digit.

    >>> agreement(parse_amount("62.3M"), 62_378_344), agreement(parse_amount("27.55 million"), 28_813_344)
    ('rounded', None)
    >>> agreement(parse_amount("200"), 256), agreement(parse_amount("100M"), 62_378_344)
    (None, None)
    """
    if amount.value == true:
        return "exact"
    off = true - amount.value
    near = abs(off) <= amount.value / 10
    if amount.unit > 1 or amount.value.denominator > 1 or amount.byte_text:
        # "0.1M" and "1K" show to which digit they are rounded; the noughts of "200" and "100M" may be digits.
        shows = (not amount.text[-1:].isdigit() and not amount.noughts) or amount.value.denominator > 1
        if abs(off) <= amount.unit / 2 and (near or shows):
            return "rounded"
        if 0 <= off < amount.unit and near:  # cut off
            return "rounded"
        # What is said to be about right may be off by its last digit, but not by a tenth of itself.
        if amount.about and abs(off) <= min(amount.unit, amount.value / 10):
            return "rounded"
    return None


def as_binary(amount: Amount) -> Amount | None:
    """The same figure if its MB were MiB, its GB GiB; None where it is of no such unit.

    >>> int(as_binary(parse_amount("233 MB")).value)
    244318208
    """
    prefix = amount.byte_text[:1].lower()
    if len(amount.byte_text) < 2 or "i" in amount.byte_text.lower() or prefix not in ("k", "m", "g", "t"):
        return None
    factor = Fraction(_BYTE_SCALES[prefix + "i"], _BYTE_SCALES[prefix])
    return replace(amount, value=amount.value * factor, unit=amount.unit * factor)


def parse_shape(text: str) -> Shape | None:
    """The numbers of a printed shape in the order in which they are printed, or None where it is none.

    A batch that is not a number (None, N, ?, -1) is left out, and so is what follows "=", and the word for
    what is counted.

    >>> parse_shape("55 x 55 x 96"), parse_shape("(None, 96, 55, 55)"), parse_shape("9,216")
    ((55, 55, 96), (96, 55, 55), (9216,))
    >>> parse_shape("26X26X256 (conv)"), parse_shape("4,096 neurons")
    ((26, 26, 256), (4096,))
    """
    printed = text.strip().strip("*`").strip()
    if len(printed) > _LONGEST:
        return None
    printed = re.sub(r"\$|\\times|\\", lambda m: "x" if m[0] == "\\times" else "", printed)
    printed = re.sub(r"^torch\.Size\((.*)\)$", r"\1", printed)
    printed = printed.partition("=")[0].strip()
    printed = re.sub(r"(?<=[\d)\]}])\s*\([^()\d]+\)$", "", printed)
    printed = re.sub(_COUNTED, "", printed).strip()
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+", printed):
        return (int(printed.replace(",", "")),)
    inner = printed.strip("()[]{} ")
    inner = re.sub(r"^(\d+)\s*@\s*(.+)$", r"\2x\1", inner)
    parts = [part.strip() for part in re.split(rf"\s*[{TIMES},]\s*|\s+by\s+", inner) if part.strip()]
    if parts and re.fullmatch(r"none|n|b|batch|\?|-1", parts[0], re.IGNORECASE):
        parts = parts[1:]
    if not parts or len(parts) > 4 or not all(re.fullmatch(r"\d{1,9}", part) for part in parts):
        return None
    return tuple(int(part) for part in parts)


def shape_readings(printed: Shape) -> tuple[Shape, ...]:
    """What a printed shape can mean, as height x width x depth, the likeliest first.

    Two numbers are height and width (depth unknown, 0); three are height x width x depth, or depth first
    where that alone makes it square or the first alone can be a picture's depth; a first number before three
    others is a batch, or as many GPUs with a part of the depth each, as a last number of 2 is (Krizhevsky et
    al. 2012, figure 2).

    >>> shape_readings((55, 55, 48, 2))
    ((55, 55, 96),)
    """
    if len(printed) == 4:
        first, second, third, fourth = printed
        if first == second and fourth == 2 and second != third:
            return ((first, second, third * fourth),)
        if first == 2 and second == third:
            return (*shape_readings(printed[1:]), (second, third, first * fourth))
        return shape_readings(printed[1:])
    if len(printed) == 2:
        return ((*printed, 0),)
    if len(printed) == 3:
        first, second, third = printed
        depth_first = first in (1, 3) and min(second, third) >= 16  # a picture's, of any sides
        if first == second or (second != third and not depth_first):
            likely: list[Shape] = [printed, (second, third, first)]
        else:
            likely = [(second, third, first), printed]
        if first == second == 1:
            likely.append((third,))
        return tuple(dict.fromkeys(likely))
    return (printed,)
