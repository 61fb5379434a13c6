"""An emulator of Google's storage, on loopback: python -m tests.gs_emulator start ...

TensorStore needs two things of Google's that the package's own leaves out: ranges counted from the end, "bytes=-84", by
which it reads a shard's index, and the object's generation in every answer.
"""

import re
from contextlib import suppress
from typing import Any

from gcp_storage_emulator import __main__ as emulator
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects

whole = objects.download


def download(request: Any, response: Any, storage: Any, *more: Any, **named: Any) -> None:
    """Answer a request for an object, or for a part of it."""
    bucket, name, asked = request.params["bucket_name"], request.params["object_id"], request.get_header
    with suppress(NotFound):  # as the package's own says
        response["x-goog-generation"] = storage.get_file_obj(bucket, name)["generation"]
        if match := re.fullmatch(r"bytes=-(\d+)", asked("range", "")):
            start = max(0, len(storage.get_file(bucket, name)) - int(match[1]))
            request.get_header = lambda key, *default: f"bytes={start}-" if key == "range" else asked(key, *default)
    whole(request, response, storage, *more, **named)


if __name__ == "__main__":
    objects.download = download
    emulator.main()
