"""Every error that this package raises on purpose.

    AlexNetError                 anything below; the command line prints its one line and exits with 2
    ├── NetworkError             a network's description is not one: unknown layer, field, kind or value
    │   ├── MisfitError          a layer cannot take what reaches it (architecture/summary.py)
    │   └── ModuleMisfitError    a torch module's layer cannot (learning/modules.py)
    ├── ClaimsError              a file of claims cannot be read as one
    ├── PictureError             a file is not a picture that can be decoded
    │   └── TooManyPixelsError   a picture is larger than is allowed
    ├── DataError                a data set is missing, empty or of the wrong form
    ├── WeightsError             a weights file is truncated, foreign, or belongs to another network
    ├── TrainingError            a training run cannot start or go on
    ├── ExportError          an exported network would not answer as the trained one does
    ├── ServerError              the server cannot start as it was told to
    │   └── BusyError            it has as much to do as it may (server/batching.py)
    ├── OutputError              a result cannot be written; what stood there before still does
    └── MissingExtraError        a package of an optional extra is not installed

A message says, in this order: where, what was found, what it must be, what to do.
"""

from __future__ import annotations


class AlexNetError(Exception):
    """Base of the tree: something the user can mend, told in one line."""


class NetworkError(AlexNetError):
    """A network's description is not one: an unknown layer, field, kind or value."""


class ClaimsError(AlexNetError):
    """A file of claims cannot be read as one."""


class PictureError(AlexNetError):
    """A file is not a picture that can be decoded."""


class TooManyPixelsError(PictureError):
    """A picture has more pixels than are to be decoded."""


class DataError(AlexNetError):
    """A data set is missing, empty or of the wrong form."""


class WeightsError(AlexNetError):
    """A weights file is truncated, foreign, or belongs to another network."""


class TrainingError(AlexNetError):
    """A training run cannot start or cannot go on."""


class ExportError(AlexNetError):
    """An exported network would not answer as the trained one does, or the format is none."""


class ServerError(AlexNetError):
    """The server cannot start as it was told to."""


class OutputError(AlexNetError):
    """A result cannot be written; what stood there before still does."""


class MissingExtraError(AlexNetError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package}: not installed; run: pip install 'alexnet[{extra}]'")
