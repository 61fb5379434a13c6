"""Colours: profiles, transparency, deep and bare modes end as sRGB on white."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from preprocess.images import make_squares, open_picture
from tests.helpers import BLUE, GREEN, RED, WHITE, encoded, near, pixels, smooth, squares


def profile_of_swapped_channels() -> bytes:
    """Return sRGB's profile with its red and blue primaries exchanged: what says (r, g, b) means (b, g, r)."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"tmpX").replace(b"bXYZ", b"rXYZ").replace(b"tmpX", b"bXYZ")


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("PNG", "RGBA"), ("TIFF", "RGB"), ("WEBP", "RGB")])
def test_colours_are_taken_through_the_profile(kind: str, mode: str) -> None:
    image = Image.new(mode, (20, 20), (200, 60, 10))
    options = {"lossless": True} if kind == "WEBP" else {}
    made = squares(encoded(image, kind, icc_profile=profile_of_swapped_channels(), **options), 16)
    assert made.profile == "applied"
    assert near(made.pixels[16][8, 8], (10, 60, 200), 4)
    assert squares(encoded(image, kind, **options), 16).profile == "none"


def test_an_srgb_profile_changes_nothing() -> None:
    image = smooth(2, 40, 40)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(pixels(image, icc_profile=srgb).astype(int) - pixels(image)).max() <= 1


@pytest.mark.parametrize("profile", [b"no profile", profile_of_swapped_channels()[:200]])
def test_a_broken_profile_is_noted_and_the_picture_kept(profile: bytes) -> None:
    made = squares(encoded(smooth(3, 30, 30), icc_profile=profile), 16)
    assert made.profile == "broken"
    assert (made.pixels[16] == pixels(smooth(3, 30, 30), 16)).all()


def test_a_profile_for_other_channels_is_broken() -> None:
    assert squares(encoded(Image.new("L", (9, 9)), icc_profile=profile_of_swapped_channels()), 8).profile == "broken"


def transparent(mode: str) -> io.BytesIO:
    """A picture red, or black in grey modes, on the left and transparent on the right."""
    rgba = Image.new("RGBA", (40, 40), (*RED, 255))
    rgba.paste((*BLUE, 0), (20, 0, 40, 40))
    if mode == "LA":
        grey = Image.new("LA", (40, 40), (0, 255))
        grey.paste((90, 0), (20, 0, 40, 40))
        return encoded(grey)
    if mode == "P":
        image = Image.new("P", (40, 40), 0)
        image.putpalette([*RED, *BLUE])
        image.paste(1, (20, 0, 40, 40))
        return encoded(image, transparency=1)
    if mode == "RGB":
        plain = Image.new("RGB", (40, 40), RED)
        plain.paste(BLUE, (20, 0, 40, 40))
        return encoded(plain, transparency=BLUE)
    if mode == "L":
        plain = Image.new("L", (40, 40), 0)
        plain.paste(77, (20, 0, 40, 40))
        return encoded(plain, transparency=77)
    return encoded(rgba)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_is_flattened_on_white(mode: str) -> None:
    got = squares(transparent(mode), 20).pixels[20]
    assert near(got[10, 2], (0, 0, 0) if mode in ("LA", "L") else RED)
    assert near(got[10, -3], WHITE)
    assert not near(got[10, 9], BLUE, 150)  # the hidden colour does not bleed over the edge


def test_half_transparency_is_half_white() -> None:
    assert near(pixels(Image.new("RGBA", (20, 20), (255, 0, 0, 128)), 8)[4, 4], (255, 127, 127))


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (257, 1), (32768, 128), (65535, 255)])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bit_grey_is_scaled_not_cut(kind: str, value: int, expected: int) -> None:
    got = pixels(Image.fromarray(np.full((20, 20), value, np.uint16)), 16, kind=kind)
    assert np.abs(got.astype(int) - expected).max() <= (1 if kind == "JPEG2000" else 0)


def test_big_endian_grey_is_as_bright_as_little_endian(shared_data: Path) -> None:
    made = []
    for name in ("16bit.cropped.tif", "16bit.MM.cropped.tif"):
        with open_picture(shared_data / "hostile-images" / name) as image:
            made.append(make_squares(image, [64], "stretch", 400).pixels[64])
    assert made[0].max() > 0
    assert (made[0] == made[1]).all()


def test_twelve_bit_grey_is_scaled_to_its_own_range() -> None:
    width, height = 8, 6
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: width * height * 3 // 2}
    pixels = bytes([0x80, 0x08, 0x00]) * (width * height // 2)  # 0x800 twice
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    header = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    file = header + pixels + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert (squares(io.BytesIO(file), 8).pixels[8] == 128).all()


def test_one_bit_is_averaged_to_grey() -> None:
    stripes = np.zeros((64, 64), bool)
    stripes[:, ::2] = True
    got = pixels(Image.fromarray(stripes), 8)
    assert 100 < got.mean() < 155
    assert np.ptp(got) < 40


def test_a_palette_is_averaged_by_colour_not_by_number() -> None:
    stripes = Image.fromarray(np.tile(np.array([0, 2], np.uint8), (64, 32)), "L")
    image = Image.new("P", stripes.size)
    image.putdata(list(stripes.tobytes()))
    image.putpalette([*RED, *GREEN, *BLUE])
    assert near(pixels(image, 8)[4, 4], (128, 0, 128), 30)


def test_cmyk_becomes_rgb() -> None:
    for kind in ("JPEG", "TIFF"):
        got = pixels(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), 16, kind=kind)
        assert near(got[8, 8], RED, 6)


def test_lab_becomes_the_colour_it_names() -> None:
    got = squares(encoded(Image.new("LAB", (20, 20), (137, 208, 195)), "TIFF"), 16)  # L 53.7, a 80, b 67: sRGB's red
    assert got.profile == "applied"
    assert near(got.pixels[16][8, 8], RED, 12)
