"""Every kind of file that people have, made with Pillow or by hand, against plain Pillow and arithmetic."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from alexnet.errors import PictureError
from alexnet.images.decode import MAX_PIXELS, PICTURE_SUFFIXES, decode

ORIENTATION = 0x0112  # the EXIF tag


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def colours() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def complaint(data: bytes) -> str:
    """What is said against a file of bytes, or nothing if it is decoded; other errors come through."""
    try:
        decode(data, max_pixels=1_000_000)
    except PictureError as error:
        return str(error)
    return ""


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checked = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_give_back_the_pixels(kind: str, colours: npt.NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(colours), kind)), colours)


def test_lossless_webp_gives_back_the_pixels(colours: npt.NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(colours), "WEBP", lossless=True)), colours)


def test_a_path_a_string_and_bytes_give_the_same_picture(
    tmp_path: Path, colours: npt.NDArray[np.uint8]
) -> None:
    data = encoded(Image.fromarray(colours), "JPEG")
    path = tmp_path / "a picture.bin"  # the ending does not matter
    path.write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    for source in (path, str(path), data):
        np.testing.assert_array_equal(decode(source), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once(
    orientation: int,
    kind: str,
    colours: npt.NDArray[np.uint8],
) -> None:
    image = Image.fromarray(colours)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(image, kind, exif=exif)
    image.getexif()[ORIENTATION] = orientation
    np.testing.assert_array_equal(decode(data), np.asarray(ImageOps.exif_transpose(image)))


def test_a_grey_picture_is_turned_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera's top is at the right: turn clockwise
    data = encoded(Image.fromarray(np.array([[1, 2, 3]], np.uint8)), "PNG", exif=exif)
    assert decode(data)[:, :, 0].tolist() == [[1], [2], [3]]


def test_broken_exif_does_not_cost_the_picture(colours: npt.NDArray[np.uint8]) -> None:
    data = encoded(Image.fromarray(colours), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data).shape == (5, 7, 3)


def test_grey_fills_three_channels() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    picture = decode(encoded(Image.fromarray(grey), "PNG"))
    np.testing.assert_array_equal(picture, np.stack([grey] * 3, axis=2))


def test_one_bit_is_black_and_white() -> None:
    picture = decode(encoded(Image.fromarray(np.array([[True, False]])), "PNG"))
    assert picture.tolist() == [[[255, 255, 255], [0, 0, 0]]]


def test_a_palette_is_looked_up() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decode(encoded(image, "PNG")).tolist() == [[[10, 20, 30], [40, 50, 60]]]


@pytest.mark.parametrize("transparency", [0, b"\0\xff"])
def test_a_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=transparency)
    assert decode(data).tolist() == [[[255, 255, 255], [40, 50, 60]]]


def test_a_colour_declared_transparent_is_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (4, 5, 6))
    assert decode(encoded(image, "PNG", transparency=(1, 2, 3))).tolist() == [[[255] * 3, [4, 5, 6]]]


def test_a_grey_of_16_bits_declared_transparent_is_white() -> None:
    image = Image.fromarray(np.array([[257, 512, 514]], np.uint16))
    assert decode(encoded(image, "PNG", transparency=257)).tolist() == [[[255] * 3, [2] * 3, [2] * 3]]


def test_alpha_is_laid_on_white() -> None:
    # alpha 51 is a fifth: 0.2 * 100 + 0.8 * 255 = 224
    colour = Image.new("RGBA", (1, 1), (100, 0, 255, 51))
    assert decode(encoded(colour, "PNG")).tolist() == [[[224, 204, 255]]]
    grey = Image.new("LA", (1, 1), (100, 51))
    assert decode(encoded(grey, "PNG")).tolist() == [[[224] * 3]]


def test_cmyk_is_converted_as_pillow_converts_it() -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    assert decode(encoded(image, "TIFF"))[0, 0].tolist() == [255, 0, 0]
    jpeg = encoded(image, "JPEG", quality=100)  # Pillow writes Adobe's marker and inverts, as Adobe does
    assert b"Adobe" in jpeg
    assert np.abs(decode(jpeg)[0, 0].astype(int) - [255, 0, 0]).max() <= 3


def test_ycck_is_converted_through_cmyk() -> None:
    # The Adobe marker's last byte says how the four channels are coded: 0 as they are, 2 as YCCK.
    jpeg = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    start = jpeg.index(b"Adobe") + 11
    ycck = jpeg[:start] + b"\2" + jpeg[start + 1 :]
    np.testing.assert_array_equal(decode(ycck), np.asarray(Image.open(io.BytesIO(ycck)).convert("RGB")))


@pytest.mark.parametrize(("mode", "pixel"), [("LAB", (128, 128, 128)), ("YCbCr", (90, 128, 128))])
def test_other_colour_spaces_are_converted_to_rgb(mode: str, pixel: tuple[int, int, int]) -> None:
    image = Image.new(mode, (1, 1), pixel)
    picture = decode(encoded(image, "TIFF"))
    assert picture.shape == (1, 1, 3)
    assert np.ptp(picture.astype(int)) <= 2  # both pixels are a grey


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight_with_white_staying_white(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32_896, 65_535]], np.uint16)
    picture = decode(encoded(Image.fromarray(values), kind))
    assert picture[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]  # round(v / 257)


def test_big_endian_sixteen_bits_are_read_as_such() -> None:
    picture = decode(encoded(Image.frombytes("I;16B", (2, 1), b"\x00\x00\xff\xff"), "TIFF"))
    assert picture[0, :, 0].tolist() == [0, 255]


def test_32_bit_integers_beyond_16_bits_are_refused() -> None:
    data = encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF")
    with pytest.raises(PictureError, match="pixels from 0 to 70000; a 16-bit picture has 0 to 65535"):
        decode(data)


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(PictureError, match="floating-point pixels"):
        decode(encoded(Image.fromarray(np.zeros((1, 1), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert np.unique(decode(data).reshape(-1, 3), axis=0).tolist() == [[255, 0, 0]]


def test_pictures_are_not_to_be_written_to(colours: npt.NDArray[np.uint8]) -> None:
    for image in (Image.fromarray(colours), Image.fromarray(colours[:, :, 0])):
        assert not decode(encoded(image, "PNG")).flags.writeable


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"gone\.jpg: no such file"):
        decode(tmp_path / "gone.jpg")


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="a folder; it must be a picture file"):
        decode(tmp_path)


def test_a_path_with_a_null_character_is_an_error_like_any_other() -> None:
    with pytest.raises(PictureError, match="cannot be opened"):
        decode("a\0b.jpg")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(PictureError, match=r"empty\.png: empty"):
        decode(path)


def test_a_text_file_with_a_pictures_ending_is_not_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("a line of text")
    with pytest.raises(PictureError, match=r"notes\.jpg: not a picture; it must be one of JPEG, PNG"):
        decode(path)


def test_a_format_that_would_start_another_program_is_not_a_picture() -> None:
    with pytest.raises(PictureError, match="not a picture"):
        decode(encoded(Image.new("RGB", (2, 2)), "EPS"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_truncation_is_an_error_or_a_whole_picture(kind: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = encoded(image, kind)
    with pytest.raises(PictureError, match=r"of \d+ bytes: "):
        decode(data[: len(data) // 2])
    for length in range(0, len(data), 7):
        assert "\n" not in complaint(data[:length])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_whatever_bytes_are_damaged_only_a_picture_error_comes_out(kind: str) -> None:
    random = np.random.default_rng(0)
    data = encoded(Image.new("RGB", (16, 16), "olive"), kind)
    for _ in range(150):
        damaged = bytearray(data)
        for position in random.integers(0, min(len(data), 200), 3):
            damaged[position] = random.integers(256)
        assert "\n" not in complaint(bytes(damaged))


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(PictureError):
        decode(png_header(0, 5))


def test_too_many_pixels_are_refused_from_the_header_alone() -> None:
    with pytest.raises(PictureError, match="101 × 100 = 10,100 pixels; it must have at most 10,000"):
        decode(png_header(101, 100), max_pixels=10_000)


@pytest.mark.parametrize("side", [13_378, 50_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_without_being_decoded(side: int) -> None:
    assert side**2 > MAX_PIXELS
    with pytest.raises(PictureError, match="pixels"):
        decode(png_header(side, side))


def test_text_that_unpacks_to_a_bomb_is_refused() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    with pytest.raises(PictureError, match="cannot be decoded"):
        decode(encoded(Image.new("RGB", (1, 1)), "PNG", pnginfo=info))


def test_exactly_as_many_pixels_as_allowed_are_decoded() -> None:
    assert decode(encoded(Image.new("L", (10, 10)), "PNG"), max_pixels=100).shape == (10, 10, 3)


def test_pillow_is_left_as_it_was() -> None:
    before = Image.MAX_IMAGE_PIXELS
    decode(encoded(Image.new("L", (1, 1)), "PNG"))
    assert before == Image.MAX_IMAGE_PIXELS


def test_no_warning_of_pillow_comes_through_in_any_thread_while_others_do() -> None:
    # Above Pillow's own 89 million pixels its header check warns; these tests turn warnings into errors.
    data = png_header(10_000, 10_000)
    messages: list[str] = []

    threads = [threading.Thread(target=lambda: messages.append(complaint(data))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [message.split("; ")[1] for message in messages] == ["it must have at most 1,000,000"] * 4
    assert all("10,000 × 10,000" in message for message in messages)
    with pytest.raises(UserWarning, match="mine"):
        warnings.warn("mine", UserWarning, stacklevel=1)


def test_suffixes_are_lower_case_and_begin_with_a_dot() -> None:
    assert {
        ".jpg",
        ".jpeg",
        ".png",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
    } <= PICTURE_SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in PICTURE_SUFFIXES)
