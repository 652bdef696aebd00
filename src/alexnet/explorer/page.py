"""The explorer's page: one HTML file, and ES modules that import each other by name through its import map.

A server gives out the modules as files. A page that has to open from a disk holds them in itself, as data:
URLs: a browser loads no module from a disk.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

_WEB = Path(__file__).with_name("web")
_TYPES = {".js": "text/javascript", ".css": "text/css"}


@cache
def web_files() -> dict[str, tuple[bytes, str]]:
    """Every file that the page is made of, by name: its content and its type."""
    return {
        path.name: (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(_WEB.iterdir())
        if path.suffix in _TYPES
    }


def served_page() -> tuple[str, str]:
    """The page as a server gives it out, and its Content-Security-Policy: nothing from anywhere else."""
    imports = _import_map({name: f"./web/{name}" for name in _modules()})
    policy = (
        f"default-src 'none'; script-src 'self' '{_hash(imports)}' '{_hash(_START)}'; style-src 'self'; "
        "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
    )
    return _html('<link rel="stylesheet" href="web/style.css">', imports, static=False), policy


def standing_page() -> str:
    """The page as it opens from a disk, with everything but the figures in it."""
    imports = _import_map(
        {
            name: f"data:text/javascript;base64,{base64.b64encode(web_files()[name][0]).decode()}"
            for name in _modules()
        }
    )
    style = web_files()["style.css"][0].decode()
    return _html(f"<style>{style}</style>", imports, static=True)


_START = 'import "explorer/main.js";'


def _modules() -> list[str]:
    return [name for name in web_files() if name.endswith(".js")]


def _import_map(places: dict[str, str]) -> str:
    return json.dumps({"imports": {f"explorer/{name}": place for name, place in places.items()}})


def _hash(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _html(style: str, imports: str, *, static: bool) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>AlexNet explorer</title>\n{style}\n"
        f'<script type="importmap">{imports}</script>\n'
        f'<script type="module">{_START}</script>\n</head>\n'
        f'<body data-static="{str(static).lower()}">\n<noscript>The explorer needs JavaScript.</noscript>\n'
        "</body>\n</html>\n"
    )
