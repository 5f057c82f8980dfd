"""The exit codes of `docs/cli.md`, and the error that has one."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes. A command with several results returns the highest."""

    FINE = 0
    NOT_FINE = 1
    """An image is not shared, or a login, a permission or a Secret is missing."""
    USAGE = 2
    """The command line, a setting, a file or a spec is invalid."""
    UNREACHABLE = 3
    """The cloud API is unavailable or throttles; the result is unknown, and a retry may succeed."""
    INTERRUPTED = 130


class CommandError(Exception):
    """The command failed. The message has one line and contains no secret."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code
