"""What is told of a stored picture: statistics and the perceptual hash."""

import io

import numpy as np
from PIL import Image

from preprocess.gallery.files import make
from preprocess.gallery.plan import plan
from preprocess.images import Squares
from preprocess.measures import perceptual_hash, statistics
from tests.helpers import RED, encoded, squares


def test_statistics_say_how_bright_contrasty_and_colourful_the_smallest_square_is() -> None:
    red = squares(encoded(Image.new("RGB", (9, 9), RED)), 8)
    assert statistics(red) == {"mean": 85.0, "contrast": 0.0, "colour": 255.0}
    half = np.zeros((64, 64, 3), np.uint8)
    half[:32] = 200, 100, 0
    both = Squares({128: np.zeros((128, 128, 3), np.uint8), 64: half}, "none")
    assert statistics(both) == {"mean": 50.0, "contrast": 50.0, "colour": 100.0}


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
