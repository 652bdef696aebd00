"""Any picture file -> RGB uint8, upright, or a `PictureError` that says what is wrong with the file.

How a picture becomes the network's input (size, crop) is `views`' matter. Safe to call from many threads.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from alexnet.errors import PictureError, TooManyPixelsError

Picture = npt.NDArray[np.uint8]
"""A picture: (height, width, 3), RGB. Not to be written to: a grey one repeats one channel by stride 0."""

MAX_PIXELS = 89_478_485
"""The most pixels that are decoded, which take less than 1 GB while they are: where Pillow begins to warn.
Twice as many are refused by Pillow itself. A server that takes strangers' files wants less."""

# Pillow also reads formats that hand the file to another program (EPS to Ghostscript). A file chooses its
# decoder by its first bytes, so only these are on offer.
_FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}

PICTURE_SUFFIXES: frozenset[str] = frozenset(suffix for suffixes in _FORMATS.values() for suffix in suffixes)
"""The file endings, in lower case, that make a file in a folder a picture. `decode` looks at no ending."""

# EXIF 2.32, section 4.6.4 A: what undoes each way in which the camera may have been held.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_BAND = 4_194_304  # pixels that are worked on at a time, where there are more

_PILLOW_WARNINGS = ("ignore", None, Warning, re.compile(r"PIL\."), 0)


def decode(
    source: str | Path | bytes, *, max_pixels: int = MAX_PIXELS, shorter_side: int | None = None
) -> Picture:
    """Decode a file, or the bytes of one, into a read-only (height, width, 3) RGB picture.

    It is turned upright by its EXIF orientation, transparency is laid on white, 16 bits become 8, and of an
    animation the first frame is taken. Pillow's warnings (odd metadata in a picture that can be read all the
    same) are filtered out from the first call on. A JPEG may come at a half, a quarter or an eighth of its
    size, where its shorter side is still at least `shorter_side`: that is decoded faster. Raises
    `PictureError` for whatever cannot be decoded, and its `TooManyPixelsError` for more than `max_pixels` at
    the size it is decoded at, which is seen from the header before any pixel is decoded.

    >>> decode(b"P6 2 1 255 " + bytes([255, 0, 0, 0, 0, 255])).tolist()
    [[[255, 0, 0], [0, 0, 255]]]
    """
    name = f"picture of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    _filter_pillow_warnings()
    with _open(source, name) as stream:
        try:
            with Image.open(stream, formats=tuple(_FORMATS)) as image:
                # Of a progressive JPEG, all is in memory before any of it is left out.
                progressive = "progressive" in image.info
                if progressive:
                    _check_size(image, name, max_pixels)
                if shorter_side is not None and image.format == "JPEG":
                    _decode_smaller(image, shorter_side)
                if not progressive:
                    _check_size(image, name, max_pixels)
                image.load()
                orientation = _orientation(image)
                flat = _to_grey_or_rgb(image, name)
                if flat is not image:
                    image.close()  # its pixels are as many again
                return _to_array(flat, orientation)
        except PictureError:
            raise
        except UnidentifiedImageError as error:
            found = "not a picture" if stream.seek(0, io.SEEK_END) else "empty"
            raise PictureError(f"{name}: {found}; it must be one of {', '.join(_FORMATS)}") from error
        except Image.DecompressionBombError as error:
            raise TooManyPixelsError(
                f"{name}: too many pixels to be decoded safely; it must have at most {max_pixels:,}; "
                f"make it smaller"
            ) from error
        except Exception as error:  # Pillow's parsers raise whatever a broken file makes them trip over
            what = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(
                f"{name}: cannot be decoded ({what}); save it again or leave it out"
            ) from error


def _filter_pillow_warnings() -> None:
    # warnings.catch_warnings swaps the process's whole list of filters and back, which loses other threads'
    # changes in between. One filter that stays, for Pillow's modules alone, is safe; it is looked for each
    # time because a caller's own catch_warnings may have dropped it.
    if _PILLOW_WARNINGS not in warnings.filters:
        warnings.filterwarnings("ignore", module=_PILLOW_WARNINGS[3].pattern)


def _open(source: str | Path | bytes, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = Path(source)
    try:
        if path.exists() and not path.is_file():  # opening a pipe or a device could wait for ever
            found = "a folder" if path.is_dir() else "neither file nor folder"
            raise PictureError(f"{name}: {found}; it must be a picture file")
        return path.open("rb")
    except FileNotFoundError as error:
        raise PictureError(f"{name}: no such file; it must be a picture file; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{name}: cannot be opened ({reason}); it must be a readable file") from error


def _check_size(image: Image.Image, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise PictureError(f"{name}: {width} × {height} pixels; each side must be at least 1")
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name}: {width:,} × {height:,} = {width * height:,} pixels; it must have at most "
            f"{max_pixels:,}; make it smaller"
        )


def _decode_smaller(image: Image.Image, shorter_side: int) -> None:
    """Have a JPEG's own transform leave out what is not needed."""
    factor = next((each for each in (8, 4, 2) if min(image.size) // each >= shorter_side), None)
    if factor is not None:
        image.draft(image.mode, (image.width // factor, image.height // factor))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTag.Orientation, 1))
    except Exception:  # broken metadata: the pixels are good, and viewers show them as they lie
        return 1


def _to_grey_or_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("RGB", "L") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        return _to_eight_bits(image, name)
    if image.mode == "F":
        raise PictureError(
            f"{name}: floating-point pixels, for which white has no fixed value; a picture must have 8 or 16 "
            f"bits a channel; save it as one"
        )
    if image.has_transparency_data:
        return _on_white(image)
    return image.convert("L" if image.mode == "1" else "RGB")


def _on_white(image: Image.Image) -> Image.Image:
    """White, not black, behind what is transparent: what a page or a print would show there."""
    result = Image.new("RGB", image.size)
    for box in _bands(image):
        band = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", band.size, "white")
        result.paste(Image.alpha_composite(white, band).convert("RGB"), box)
    return result


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Scale 0..65535 to 0..255: by 257, so that white stays white and v * 257 comes back as v."""
    if image.mode == "I":  # also holds 32-bit measurements, which have no agreed white
        low, high = cast("tuple[int, int]", image.getextrema())  # it has one channel
        if low < 0 or high > 65_535:
            raise PictureError(
                f"{name}: pixels from {low} to {high}; a 16-bit picture has 0 to 65535; save it with 8 or "
                f"16 bits"
            )
    result = np.empty((image.height, image.width), np.uint8)
    clear = image.info.get("transparency")  # the one grey that shows what is behind, as in `_on_white`
    for box in _bands(image):
        values = np.asarray(image.crop(box)).astype(np.uint32)
        if isinstance(clear, int):
            values[values == clear] = 65_535
        result[box[1] : box[3]] = (values + 128) // 257
    return Image.fromarray(result)


def _bands(image: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """The picture from top to bottom in boxes of rows, so that what is made of one takes little memory."""
    rows = max(_BAND // image.width, 1)
    for top in range(0, image.height, rows):
        yield 0, top, image.width, min(top + rows, image.height)


def _to_array(image: Image.Image, orientation: int) -> Picture:
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    if image.mode == "L":
        grey = np.asarray(image)
        return np.broadcast_to(grey[:, :, np.newaxis], (*grey.shape, 3))
    if image.width * image.height <= _BAND:
        return np.asarray(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)  # numpy would take it through a copy of all
    for left, top, right, bottom in _bands(image):
        pixels[top:bottom] = np.asarray(image.crop((left, top, right, bottom)))
    pixels.flags.writeable = False
    return pixels
