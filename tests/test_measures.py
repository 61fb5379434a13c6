"""What is told of a stored picture: statistics and the perceptual hash."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image

from preprocess.gallery.files import make
from preprocess.gallery.plan import plan
from preprocess.images import thumbnail_side
from preprocess.measures import perceptual_hashes, statistics
from tests.helpers import RED, encoded, squares


def test_statistics_say_how_bright_contrasty_and_colourful_a_picture_is() -> None:
    red = squares(encoded(Image.new("RGB", (9, 9), RED)), 8)
    assert statistics(red.thumbnail) == {"mean": 85.0, "contrast": 0.0, "colour": 255.0}
    half = np.zeros((64, 64, 3), np.uint8)
    half[:32] = 200, 100, 0
    assert statistics(half) == {"mean": 50.0, "contrast": 50.0, "colour": 100.0}


@pytest.mark.parametrize(
    ("sizes", "side"),
    [((8,), 8), ((64, 128, 256), 64), ((32, 256), 64), ((16, 100), 100), ((224,), 75), ((300, 28), 75)],
)
def test_the_thumbnail_has_64_to_127_pixels_on_a_side_or_as_many_as_there_are(
    sizes: tuple[int, ...], side: int
) -> None:
    made = squares(encoded(Image.new("RGB", (9, 9), RED)), *sizes)
    assert made.thumbnail.shape == (side, side, 3)
    assert thumbnail_side(sizes) == side


def test_the_hash_is_that_of_the_picture_not_of_its_file() -> None:
    hashes = []
    for picture in [picture for picture in plan(3, 40, 6) if picture.kind == "jpeg"][:16]:
        file = io.BytesIO(make(picture))
        with Image.open(file) as image:
            other = image.resize((image.width * 2 // 3, image.height * 2 // 3))
        versions = (file, 64, 128, 256), (encoded(other), 64, 128, 256), (encoded(other, "WEBP"), 100)
        hashes.append(
            [int(phash, 16) for version in versions for phash in perceptual_hashes([squares(*version).thumbnail])]
        )
    for mine in hashes:
        assert max((mine[0] ^ other).bit_count() for other in mine) <= 4
        assert min((mine[0] ^ other[0]).bit_count() for other in hashes if other is not mine) > 4


def test_the_hash_is_that_of_imagehash() -> None:
    pictures = [picture for picture in plan(3, 40, 6) if picture.kind == "jpeg"][:16]
    thumbnails = [squares(io.BytesIO(make(picture)), 64).thumbnail for picture in pictures]
    small = [Image.fromarray(each).convert("L").resize((32, 32), Image.Resampling.BICUBIC) for each in thumbnails]
    assert perceptual_hashes(thumbnails) == [str(imagehash.phash(each)) for each in small]
