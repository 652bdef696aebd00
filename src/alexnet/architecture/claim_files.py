"""Reading a file of claims by its ending, or those that go by a name here."""

from __future__ import annotations

from pathlib import Path

from alexnet.architecture.claim_tables import read_csv, read_markdown
from alexnet.architecture.claims import Claims, read_toml
from alexnet.errors import ClaimsError

NAMED = {"notes": Path(__file__).with_name("notes-claims.toml")}
"""Claims that are part of this package: those of the lecture notes, in full."""

MOST_BYTES = 2_000_000  # of a file of claims: a published table has some thousand


def read_claims(path: str | Path) -> Claims:
    """The claims of a file: TOML, a Markdown table (.md, .txt) or CSV; or of a name in NAMED.

    Raises ClaimsError that names the file.
    """
    path = NAMED.get(str(path), Path(path))
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ClaimsError(f"{path}: over {MOST_BYTES:,} bytes; fewer are read; keep its tables only")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ClaimsError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise ClaimsError(f"{path}: not text in UTF-8; must be TOML, Markdown or CSV") from None
    match path.suffix.lower():
        case ".toml":
            return read_toml(text, where=str(path))
        case ".csv" | ".tsv":
            return read_csv(text, where=str(path))
        case ".md" | ".markdown" | ".txt":
            return read_markdown(text, where=str(path))
    raise ClaimsError(f"{path}: its ending; must be .toml, .md, .txt, .csv or .tsv")
