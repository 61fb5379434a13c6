"""The versions that decide the pixels of a store."""

import functools


@functools.cache
def recipe() -> dict[str, str]:
    """Return the versions of the libraries that decode, resize and hash pictures on this machine."""
    from importlib.metadata import version

    import PIL
    from PIL import features

    # Not zlib, which loses nothing: Pillow gives the version of whichever was loaded first, such as TensorFlow's.
    decoders = ("jpg", "libjpeg_turbo", "libtiff", "webp", "jpg_2000", "avif", "littlecms2")
    versions = {name: str(features.version(name)) for name in decoders}
    # Not the version of the package, which pillow-simd has under another name.
    return versions | {"pillow": PIL.__version__, "scipy": version("scipy")}
