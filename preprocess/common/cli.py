"""What every command line shares: --config, --set, --json, and errors of one line with exit status 2."""

import errno
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from preprocess.common.errors import UserError

Verb = TypeVar("Verb", bound=Callable[..., Any])

DISK_ERRORS = {
    errno.ENOSPC: "the disk is full; free some space and run again: what is done is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run again: what is done is kept",
    errno.EACCES: "no permission; change its owner or mode, or choose another folder in config.yaml",
    errno.EPERM: "not permitted; change its owner or mode, or choose another folder in config.yaml",
    errno.EROFS: "the file system is read-only; choose another folder in config.yaml",
    errno.EIO: "the disk cannot read or write; check it and run again: what is done is kept",
    errno.EMFILE: "too many open files; raise the limit with 'ulimit -n' and run again: what is done is kept",
    errno.EEXIST: "exists and is no folder; move it away, or choose another folder in config.yaml",
    errno.ENOTDIR: "is no folder, or lies below something that is none; choose another folder in config.yaml",
    errno.EISDIR: "is a folder where a file was expected; move it away, or name another",
}


def verb(function: Verb) -> Verb:
    """Give a click command the options that every verb has; its function receives the checked Config first."""

    @click.option("--config", "config_path", type=click.Path(path_type=Path), default=Path("config.yaml"),
                  show_default=True, help="The configuration file.")  # fmt: skip
    @click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting, e.g. train.batch=256."
    )
    @functools.wraps(function)
    def wrapped(config_path: Path, overrides: tuple[str, ...], **options: Any) -> Any:
        if click.get_current_context().invoked_subcommand:
            return None  # which has options of its own
        from preprocess.common.config import load_config

        return function(load_config(config_path, overrides), **options)

    return wrapped  # type: ignore[return-value]


def as_json(function: Verb) -> Verb:
    """Add --json, for answers that a machine may read."""
    return click.option("--json", "machine", is_flag=True, help="Answer in JSON.")(function)


def say(value: dict[str, Any], machine: bool, sentence: str) -> None:
    """Print `value` as one JSON object for a machine, or `sentence` for a person."""
    click.echo(json.dumps(value, ensure_ascii=False) if machine else sentence)


def main(group: click.Command, program: str) -> None:
    """Run a command line; a user's mistake becomes one line on standard error and exit status 2."""
    try:
        group.main(prog_name=f"python -m {program}", standalone_mode=True)
    except UserError as error:
        fail(str(error))
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        fail(f"{error.filename or 'a file'}: {DISK_ERRORS[error.errno]}")


def fail(message: str) -> None:
    """Print one line and leave with status 2."""
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)
