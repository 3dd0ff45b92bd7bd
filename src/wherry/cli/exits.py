"""The exit codes of `wherry`. Everything else that it exits with is a container's own status."""

from __future__ import annotations

from wherry import errors

#: A misused command line (argparse's own); `run`, `exec` and `attach` have WHERRY_FAILED, as theirs carries a status.
MISUSED = 2
WHERRY_FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127
#: 128 + SIGINT
INTERRUPTED = 130
#: 128 + SIGPIPE
PIPE_CLOSED = 141


def find(error: errors.WherryError) -> int:
    """Return the exit code that stands for a failure of Wherry."""
    if isinstance(error, errors.CommandNotExecutable):
        return CANNOT_EXECUTE
    if isinstance(error, errors.CommandNotFound):
        return NOT_FOUND
    return WHERRY_FAILED
