"""What every HTML page that is written has in common: one file that needs nothing else, light and dark."""

from __future__ import annotations

import base64
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --quiet: #5f5f6a; --paper: #fff; --line: #d5d5dd;
  --block: #f3f3f6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ee; --quiet: #a0a0ac; --paper: #17171b; --line: #3a3a44; --block: #222228; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; overflow-wrap: anywhere; } h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .25rem .6rem; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
.words :is(th, td) { text-align: left; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem; } dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--block); padding: .7rem 1rem; border-radius: .4rem; overflow-x: auto; }
summary { cursor: pointer; margin: .7rem 0; }
"""


def html_page(title: str, body: str, *, style: str = "") -> str:
    """The whole file: `body` is HTML below the head, `style` CSS besides STYLE's."""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{style}</style>\n{body}\n</html>\n"
    )


def image_url(coded: bytes, form: str) -> str:
    """A picture's file, of a form such as png, as the URL of an image in the page itself.

    >>> image_url(b"GIF89a", "gif")
    'data:image/gif;base64,R0lGODlh'
    """
    return f"data:image/{form};base64," + base64.b64encode(coded).decode()
