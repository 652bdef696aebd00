"""Expressions of numbers as people write them, (11x11x3) x 96 or floor((224 - 11)/4) + 1, exactly."""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil, floor

from alexnet.architecture.quantities import TIMES

_ROUNDED = {"floor": floor, "int": floor, "ceil": ceil, "⌊": floor, "⌈": ceil}
_CLOSING = {"(": ")", "⌊": "⌋", "⌈": "⌉"}
_TOKEN = re.compile(r"\d+(?:\.\d+)?|floor|ceil|int|[-+*/^()⌊⌋⌈⌉]")
# LaTeX's way to write them; what only sets an expression has no meaning here.
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", "{,}": ",", r"\lfloor": "⌊", r"\rfloor": "⌋"}
_LATEX |= {r"\lceil": "⌈", r"\rceil": "⌉", r"\left": "", r"\right": "", r"\,": "", "$": ""}
_MOST_TOKENS = 200
_MOST_EXPONENT = 64
_MOST_BITS = 2_000  # of a numerator or denominator: no count of anything comes near


def without_latex(text: str) -> str:
    r"""The text without what LaTeX sets it with.

    >>> without_latex(r"$(11 \times 11 \times 3) \times 96 = 34{,}848$")
    '(11 * 11 * 3) * 96 = 34,848'
    """
    for written, meant in _LATEX.items():
        text = text.replace(written, meant)
    return text


def evaluate(text: str) -> Fraction | None:
    """What an expression of numbers, + - x / ^ and brackets comes to, exactly; None where it is none.

    None, too, where it or a part of it would have more than some 600 digits.

    >>> int(evaluate("(11x11x3) x 96")), int(evaluate("floor((224 - 11)/4) + 1"))
    (34848, 54)
    """
    text = re.sub(r"(?<=\d),(?=\d{3})", "", without_latex(text))
    text = re.sub(f"[{TIMES}]", "*", text.replace("**", "^")).replace("−", "-").replace("÷", "/")
    text = re.sub(r"\s", "", text).replace("[", "(").replace("]", ")")
    tokens = _TOKEN.findall(text)
    if not tokens or "".join(tokens) != text or len(tokens) > _MOST_TOKENS:
        return None
    try:
        value, rest = _sum(tokens)
    except (IndexError, ValueError, ZeroDivisionError):
        return None
    return value if not rest else None


def _sum(tokens: list[str]) -> tuple[Fraction, list[str]]:
    value, tokens = _product(tokens)
    while tokens and tokens[0] in "+-":
        term, rest = _product(tokens[1:])
        value, tokens = _bounded(value + term if tokens[0] == "+" else value - term), rest
    return value, tokens


def _product(tokens: list[str]) -> tuple[Fraction, list[str]]:
    value, tokens = _signed(tokens)
    while tokens and tokens[0] in "*/":
        factor, rest = _signed(tokens[1:])
        value, tokens = _bounded(value * factor if tokens[0] == "*" else value / factor), rest
    return value, tokens


def _signed(tokens: list[str]) -> tuple[Fraction, list[str]]:
    """A sign stands before the power that follows: -2^2 is -4."""
    if tokens[0] == "-":
        value, rest = _signed(tokens[1:])
        return -value, rest
    value, tokens = _atom(tokens)
    if tokens and tokens[0] == "^":
        exponent, tokens = _signed(tokens[1:])
        if exponent.denominator != 1 or abs(exponent) > _MOST_EXPONENT:
            raise ValueError
        value = _bounded(value ** int(exponent))
    return value, tokens


def _atom(tokens: list[str]) -> tuple[Fraction, list[str]]:
    opening, rest = tokens[0], tokens[1:]
    rounded = _ROUNDED.get(opening, Fraction)
    if opening.isalpha():  # floor(...)
        opening, rest = rest[0], rest[1:]
        if opening != "(":
            raise ValueError
    if opening not in _CLOSING:
        return _bounded(Fraction(opening)), rest
    value, rest = _sum(rest)
    if rest[0] != _CLOSING[opening]:
        raise ValueError
    return Fraction(rounded(value)), rest[1:]


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MOST_BITS:
        raise ValueError
    return value
