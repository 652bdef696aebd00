"""A look inside as one HTML page that needs nothing else: inside.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from alexnet.architecture import tables
from alexnet.inside.figures import Figure, Look
from alexnet.inside.sheets import jpeg
from alexnet.learning.html_page import html_page, image_url

_STYLE = """
figure { margin: 1.2rem 0; } figcaption { font-size: .85rem; line-height: 1.4; margin-top: .4rem; }
figcaption p { margin: .15rem 0; overflow-wrap: anywhere; } .facts { color: var(--quiet); }
figure img { max-width: 100%; height: auto; border-radius: .25rem; }
.sheet img { image-rendering: pixelated; }
.side { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: 1.2rem; }
.side figure { margin: 0; } .side img { width: 100%; }
details figure { margin-top: .3rem; }
"""


def page(
    title: str,
    *,
    facts: Sequence[tuple[str, str]],
    answers: Sequence[tuple[str, float, float]],
    look: Look,
    coded: Mapping[str, bytes],
) -> str:
    """The page's HTML; `coded` has each figure's picture as a PNG file, by the figure's name.

    Photographs are on the page as JPEG, others as they are in `coded`. `facts` are lines at its head: what,
    and its value. `answers` are class, probability and logit, likeliest first.
    """
    told = [(name, f"{probability:.1%}", f"{logit:.2f}") for name, probability, logit in answers]
    sections = {
        "What it answers": tables.html_table(("class", "probability", "logit"), told),
        "What the answer rests on": '<div class="side">'
        + "\n".join(_figure(each, coded) for each in look.about)
        + "</div>",
        **{each.title: _sheet(each, coded) for each in look.kernels},
        "What every layer makes of the picture": _maps(look.maps, coded),
        "What excites the filters": _patches(look.patches, coded),
    }
    parts = [
        f"<h1>{escape(title)}</h1>",
        "<dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
        + "</dl>",
        *(f"<h2>{escape(head)}</h2>\n{content}" for head, content in sections.items() if content),
    ]
    return html_page(title, "\n".join(parts), style=_STYLE)


def _maps(maps: Sequence[Figure], coded: Mapping[str, bytes]) -> str:
    says = (
        "A layer's maps stand in order of depth, row by row, all on one scale, of square roots: black is 0, "
        "purple to pale yellow what is above, teal what is below. The map in the green frame holds the "
        "largest value. A vector's units are small squares."
    )
    return f"<p>{says}</p>\n" + "\n".join(_folded(each, coded) for each in maps)


def _patches(patches: Sequence[Figure], coded: Mapping[str, bytes]) -> str:
    if not patches:
        return ""
    says = (
        "For each filter, the strongest first, the pieces of pictures in which it has its largest values, "
        "one a picture: all that the filter looks at there. What lies outside the picture is blank."
    )
    return f"<p>{says}</p>\n" + "\n".join(_folded(each, coded) for each in patches)


def _folded(figure: Figure, coded: Mapping[str, bytes]) -> str:
    """A figure under a line that folds it away."""
    head = f"<strong>{escape(figure.title)}</strong> <span class='facts'>{escape(figure.facts)}</span>"
    return (
        f"<details{'' if figure.folded else ' open'}><summary>{head}</summary>"
        f'<figure class="sheet">{_image(figure, coded)}</figure></details>'
    )


def _sheet(figure: Figure, coded: Mapping[str, bytes]) -> str:
    return f'<figure class="sheet">{_image(figure, coded)}{_caption(figure)}</figure>'


def _figure(figure: Figure, coded: Mapping[str, bytes]) -> str:
    return f"<figure>{_image(figure, coded)}{_caption(figure, title=figure.title)}</figure>"


def _caption(figure: Figure, *, title: str = "") -> str:
    head = f"<strong>{escape(title)}</strong> " if title else ""
    return (
        f'<figcaption><p>{head}<span class="facts">{escape(figure.facts)}</span></p>'
        f"<p>{escape(figure.reads)}</p></figcaption>"
    )


def _image(figure: Figure, coded: Mapping[str, bytes]) -> str:
    height, width = figure.picture.shape[:2]
    photograph = figure.photograph
    source = image_url(jpeg(figure.picture), "jpeg") if photograph else image_url(coded[figure.name], "png")
    return f'<img src="{source}" width="{width}" height="{height}" alt="{escape(figure.alt, quote=True)}">'
