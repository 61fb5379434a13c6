"""One tree of errors: a `UserError` is one line and exit status 2; anything else is a bug and a traceback."""


class UserError(Exception):
    """Something the user can put right. The message names the file, row or key, and the remedy."""


class ConfigError(UserError, ValueError):
    """`config.yaml` or a `--set` names an unknown key, a wrong type or an impossible value."""


class SourceError(UserError):
    """The table or the pictures are missing, malformed, or do not match each other."""


class StoreError(UserError):
    """The store is missing, damaged, in use, or was made from something else."""


class QuarantinedRow(StoreError, LookupError):  # noqa: N818 - named for what it is about
    """A row was asked for whose picture could not be stored; the message carries the reason."""


class StoreGone(StoreError):  # noqa: N818 - named for what it is about
    """The store, or the disk, mount or network it comes from, does not answer; it may come back as it was."""


class SplitError(UserError):
    """There are too few artists or paintings to split, or to draw pairs from."""


class RunError(UserError):
    """The run directory is in use, unfinished, or belongs to another store or other settings."""


class UnreadablePicture(Exception):  # noqa: N818 - named for what it is about
    """A picture that cannot be stored; the message is the reason recorded with its row in quarantine."""
