"""img2dataset's resizer on the JPEGs named on the command line; run by path with the Python of .venv-bench.

Prints the seconds of processor time: reading, decoding, cropping and resizing to 256 pixels, encoding as JPEG.
"""

import io
import sys
import time
from pathlib import Path

from img2dataset.resizer import Resizer  # type: ignore[import-not-found]

resizer = Resizer(image_size=256, resize_mode="center_crop", resize_only_if_bigger=False)
started = time.process_time()
for name in sys.argv[1:]:
    *_, error = resizer(io.BytesIO(Path(name).read_bytes()))
    if error:
        sys.exit(f"{name}: {error}")
print(time.process_time() - started)
