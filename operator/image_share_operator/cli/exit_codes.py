"""How a command ends: the exit codes of `docs/cli.md`, and the error that carries one."""

from enum import IntEnum


class Exit(IntEnum):
    """Of several findings the highest counts."""

    FINE = 0
    NOT_FINE = 1
    """Something would not succeed: a share, a right, a login, a Secret is missing."""
    USAGE = 2
    """The command line, a file, or a spec can't be used."""
    UNREACHABLE = 3
    """The cloud gave no usable answer: nothing is known; try again."""
    INTERRUPTED = 130


class CommandError(Exception):
    """The command can't go on; the message is one line for a person, without a secret."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code
