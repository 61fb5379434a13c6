"""What is told of a stored picture: statistics and the perceptual hash."""

import io

import pytest
from PIL import Image

from preprocess.gallery.files import make
from preprocess.gallery.plan import plan
from preprocess.measures import perceptual_hash, statistics
from tests.helpers import RED, encoded, squares


@pytest.mark.parametrize("size", [8, 64, 224])
def test_statistics_say_how_bright_contrasty_and_colourful_a_picture_is(size: int) -> None:
    half = Image.new("RGB", (90, 90), RED)
    assert statistics(squares(encoded(half), size)) == {"mean": 85.0, "contrast": 0.0, "colour": 255.0}
    half.paste((0, 0, 0), (0, 0, 45, 90))
    got = statistics(squares(encoded(half), size))
    assert got == pytest.approx({"mean": 42.5, "contrast": 42.5, "colour": 127.5}, abs=4)


def test_the_hash_is_that_of_the_picture_not_of_its_file() -> None:
    hashes = []
    for picture in [picture for picture in plan(3, 40, 6) if picture.kind == "jpeg"][:16]:
        file = io.BytesIO(make(picture))
        with Image.open(file) as image:
            other = image.resize((image.width * 2 // 3, image.height * 2 // 3))
        versions = (file, 64, 128, 256), (encoded(other), 64, 128, 256), (encoded(other, "WEBP"), 100)
        hashes.append([int(perceptual_hash(squares(*version)), 16) for version in versions])
    for mine in hashes:
        assert max((mine[0] ^ other).bit_count() for other in mine) <= 4
        assert min((mine[0] ^ other[0]).bit_count() for other in hashes if other is not mine) > 4
