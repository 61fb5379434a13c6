"""train.notify: a command of the user's, run when training finished or failed."""

import os
import subprocess
import sys
from pathlib import Path

from train.supervise import Ending

SECONDS = 60


def notify(command: str, run: Path, ending: Ending) -> None:
    """Run `command` in a shell, with PAINTINGS_RUN, PAINTINGS_STATUS and PAINTINGS_CAUSE in its environment.

    It has a minute; that it fails is said on standard error and changes nothing.
    """
    told = {"PAINTINGS_RUN": str(run), "PAINTINGS_STATUS": str(ending.status), "PAINTINGS_CAUSE": ending.cause}
    try:
        status = subprocess.run(  # noqa: S603 - the user's own command, from config.yaml
            ["/bin/sh", "-c", command], env=os.environ | told, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
        ).returncode  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"train: train.notify: {error}", file=sys.stderr)
    else:
        if status:
            print(f"train: train.notify ended with status {status}", file=sys.stderr)
