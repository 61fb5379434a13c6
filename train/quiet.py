"""TensorFlow without its start-up notes, which would bury the one line that matters."""

import gc
import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Import TensorFlow and Keras; what they write to standard error meanwhile is shown only if that fails.

    Its notes come from C++ before any log level is read, so the file descriptor itself is turned aside. Set
    TF_CPP_MIN_LOG_LEVEL=0 to see everything.
    """
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # GPUs are numbered as nvidia-smi numbers them
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0":
        return
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        gc.disable()  # nothing here is garbage: looking for some, now and at exit, takes a third of the time
        try:
            import keras  # noqa: F401
            import tensorflow  # noqa: F401
        except BaseException:
            os.dup2(kept, 2)
            notes.seek(0)
            sys.stderr.write(notes.read().decode(errors="replace"))
            raise
        finally:
            gc.freeze()
            gc.enable()
            os.dup2(kept, 2)
            os.close(kept)
