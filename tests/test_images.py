"""One picture to squares: geometry, orientation, colour, odd modes, and what is refused."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.metrics import structural_similarity

from preprocess.common.errors import UnreadablePicture
from preprocess.gallery.files import make
from preprocess.gallery.plan import plan
from preprocess.images import jpeg_quality, make_squares, open_picture, to_srgb
from preprocess.measures import perceptual_hashes, statistics
from tests.helpers import BLUE, GREEN, GREY, RED, YELLOW, encoded, near, pixels, psnr, raiser, smooth, squares

# How an upright picture is stored by a camera that was held otherwise (EXIF 2.32, 4.6.4 A).
STORED_AS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def quarters(width: int, height: int) -> Image.Image:
    """Red, green / blue, yellow."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = YELLOW
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("width", "height"), [(120, 60), (60, 120), (90, 90), (61, 33)])
@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_quarters_stay_in_their_corners(square: str, width: int, height: int) -> None:
    got = pixels(quarters(width, height), 32, square)
    short = round(32 * min(width, height) / max(width, height)) if square == "pad" else 32
    half_width, half_height = (16, short / 2) if width > height else (short / 2, 16)
    for (right, down), colour in {(-1, -1): RED, (1, -1): GREEN, (-1, 1): BLUE, (1, 1): YELLOW}.items():
        for reach in (0.3, 0.8):
            assert near(got[int(16 + down * reach * half_height), int(16 + right * reach * half_width)], colour)
    if short < 32:
        bars = (got == GREY).all(axis=2).all(axis=int(width > height))
        assert bars.sum() == 32 - short
        assert bars[0]
        assert bars[-1]


def test_crop_keeps_the_centre_and_stretch_keeps_all() -> None:
    image = Image.new("RGB", (100, 50), RED)
    image.paste(GREEN, (15, 0, 85, 50))
    assert (pixels(image, 20, "crop") == GREEN).all()
    stretched = pixels(image, 20, "stretch")
    assert near(stretched[10, 0], RED)
    assert near(stretched[10, 10], GREEN)
    assert near(stretched[10, -1], RED)


@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_every_exif_orientation_gives_the_same_upright_square(
    kind: str,
    options: dict[str, object],
    square: str,
) -> None:
    upright = quarters(60, 40)
    expected = pixels(upright, 32, square, kind=kind, **options).astype(int)
    for orientation in range(1, 9):
        stored = upright.transpose(STORED_AS[orientation]) if orientation > 1 else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        got = pixels(stored, 32, square, kind=kind, exif=exif, **options)
        assert np.abs(got - expected).mean() < 1, orientation
        assert np.abs(got - expected).max() < 20, orientation


def test_a_broken_exif_block_does_not_lose_the_picture(shared_data: Path) -> None:
    with open_picture(shared_data / "hostile-images/invalid-exif-without-x-resolution.jpg") as image:
        assert make_squares(image, [16], "crop", 400).pixels[16].shape == (16, 16, 3)


@pytest.mark.parametrize("square", ["crop", "stretch"])
def test_smaller_sizes_are_the_same_picture(square: str) -> None:
    made = squares(encoded(smooth(1, 300, 200)), 16, 128, 64, 37, square=square)
    assert list(made.pixels) == [16, 128, 64, 37]
    for size, small in made.pixels.items():
        best = Image.fromarray(made.pixels[128]).resize((size, size), Image.Resampling.LANCZOS)
        assert psnr(np.asarray(best), small) > 40, size


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (300, 1), (2, 3), (7, 1999)])
@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_lines_and_tiny_pictures_fill_their_square(square: str, width: int, height: int) -> None:
    got = pixels(Image.new("RGB", (width, height), RED), 16, square)
    red = (got == RED).all(axis=2)
    assert red.any() if square == "pad" else red.all()
    assert (got[~red] == GREY).all()


def test_the_first_frame_of_a_film_is_the_picture() -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN)]
    for kind in ("GIF", "PNG", "TIFF", "WEBP", "MPO"):
        got = pixels(frames[0], 16, kind=kind, save_all=True, append_images=frames[1:])
        assert near(got[8, 8], RED, 6), kind


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("F", "floating-point pixels of unknown range"), ("I", "32-bit pixels of unknown range")],
)
def test_pixels_of_unknown_range_are_refused_with_the_reason(mode: str, reason: str) -> None:
    with pytest.raises(UnreadablePicture) as caught:
        pixels(Image.new(mode, (9, 9), 1), kind="TIFF")
    assert str(caught.value) == reason


@pytest.mark.parametrize("progressive", [False, True])
def test_a_truncated_jpeg_is_refused_with_the_reason(progressive: bool) -> None:
    data = encoded(smooth(4, 200, 200), "JPEG", progressive=progressive).getvalue()
    with pytest.raises(UnreadablePicture, match="truncated"):
        squares(io.BytesIO(data[: len(data) // 2]), 16)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(UnreadablePicture, match="without pixels"):
        make_squares(Image.new("RGB", (0, 9)), [16], "crop", 400)


def test_a_huge_picture_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    file = encoded(Image.new("1", (2000, 1000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", raiser(AssertionError("decoded")))
    with pytest.raises(UnreadablePicture, match=r"^2 megapixels, more than preprocess.max_megapixels = 1.5$"):
        squares(file, 16, most=1.5)


def test_pictures_beyond_pillows_own_limit_are_stored() -> None:
    assert pixels(Image.new("1", (14_000, 13_000), 1), 64).min() >= 254


def refusal(path: Path) -> str:
    """Return why a file is not opened as a picture."""
    with pytest.raises(UnreadablePicture) as caught, open_picture(path):
        pass
    return str(caught.value)


def test_reasons_name_no_path_and_no_address(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"GIF87")
    problem = refusal(tmp_path / "x.png")
    assert problem.startswith("not a picture of an allowed format (JPEG, PNG,")
    assert str(tmp_path) not in problem
    assert "0x" not in problem


def test_formats_nobody_needs_are_not_decoded(tmp_path: Path) -> None:
    smooth(0, 9, 9).save(tmp_path / "x.png", format="PPM")
    assert "not a picture of an allowed format" in refusal(tmp_path / "x.png")


def test_a_failing_disk_is_no_fault_of_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth(0, 9, 9).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "open", raiser(OSError(5, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"), open_picture(tmp_path / "x.png"):
        pass


def painted() -> list[io.BytesIO]:
    """Return the ordinary JPEGs of a small gallery."""
    return [io.BytesIO(make(picture)) for picture in plan(3, 40, 6) if picture.kind == "jpeg"]


def test_every_size_of_a_painting_is_close_to_the_best_there_is() -> None:
    check_quality(painted())


def test_every_size_of_a_real_painting_is_close_to_the_best_there_is(shared_data: Path) -> None:
    paths = sorted((shared_data / "paintings").rglob("*.jpg"))
    large = sorted(paths, key=lambda path: path.stat().st_size)[-8:]
    check_quality([io.BytesIO(path.read_bytes()) for path in paths[:: len(paths) // 32][:32] + large])


def check_quality(jpegs: list[io.BytesIO]) -> None:
    """Compare every size, made of one decode, with Lanczos from the whole picture."""
    found: dict[int, list[tuple[float, float]]] = {64: [], 128: [], 256: []}
    for file in jpegs:
        made = squares(file, *found).pixels
        with Image.open(file) as image:
            full = to_srgb(image, image.info.get("icc_profile"))[1]
        side = min(full.size)
        box = ((full.width - side) / 2, (full.height - side) / 2, (full.width + side) / 2, (full.height + side) / 2)
        for size, values in found.items():
            best = np.asarray(full.resize((size, size), Image.Resampling.LANCZOS, box=box))
            similarity = structural_similarity(made[size], best, channel_axis=-1)  # type: ignore[no-untyped-call]
            values.append((psnr(made[size], best), similarity))
    for size, values in found.items():
        assert len(values) >= 25
        decibels, similarity = np.median(values, axis=0)
        assert decibels >= 37, size
        assert similarity >= 0.98, size
        assert min(values)[0] >= 30, size


@pytest.mark.parametrize("shape", [(1601, 1203), (1207, 1599), (1000, 1000)])
@pytest.mark.parametrize("square", ["crop", "pad", "stretch"])
def test_a_reduced_decode_is_not_shifted(square: str, shape: tuple[int, int]) -> None:
    image = smooth(6, *shape)
    whole, reduced = encoded(image), encoded(image, "JPEG", quality=95)
    assert psnr(squares(whole, 64, square=square).pixels[64], squares(reduced, 64, square=square).pixels[64]) >= 45


def test_a_reduced_decode_is_taken_where_it_saves_work() -> None:
    file = encoded(smooth(5, 1600, 1200), "JPEG")
    with Image.open(file) as image:
        make_squares(image, [64], "crop", 400)
        assert image.size == (200, 150)


MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I;16", "I;16B", "I", "F")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(MODES), st.integers(1, 90), st.integers(1, 90), st.sampled_from(["crop", "pad", "stretch"]),
    st.lists(st.integers(8, 48), min_size=1, max_size=3, unique=True), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_picture_is_refused_or_gives_every_square(
    mode: str, width: int, height: int, square: str, sizes: list[int], seed: int
) -> None:
    image = Image.new(mode, (width, height))
    if mode not in ("1", "LAB", "I", "F"):
        image.frombytes(np.random.default_rng(seed).bytes(len(image.tobytes())))
    try:
        made = make_squares(image, sizes, square, 400)
    except UnreadablePicture as error:
        assert mode in ("I", "F"), error  # noqa: PT017 - any other mode has squares
        return
    assert list(made.pixels) == sizes
    for size, got in made.pixels.items():
        assert got.shape == (size, size, 3)
        assert got.dtype == np.uint8
    assert [len(phash) for phash in perceptual_hashes([made.thumbnail])] == [16]
    assert all(0 <= value <= 255 for value in statistics(made.thumbnail).values())


@pytest.mark.parametrize("quality", [25, 50, 75, 85, 95])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality: int) -> None:
    with Image.open(encoded(smooth(1, 30, 30), "JPEG", quality=quality)) as image:
        assert jpeg_quality(image) == quality


def test_other_files_have_no_quality() -> None:
    for form in ("PNG", "WEBP"):
        with Image.open(encoded(smooth(1, 30, 30), form)) as image:
            assert jpeg_quality(image) is None
