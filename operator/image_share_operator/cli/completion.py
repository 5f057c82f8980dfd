"""The command `completion`: prints the completion script of a shell. shtab writes the script."""

import argparse
from collections.abc import Iterator

from image_share_operator.cli import arguments
from image_share_operator.cli.exit_codes import CommandError


def script(shell: str) -> str:
    """Return the script that completes the commands and options of `arguments`.

    Raises:
        CommandError: shtab is not installed (the extra ``cli``).
    """
    try:
        import shtab  # noqa: PLC0415 - only this command needs it
    except ImportError:
        raise CommandError(
            "completion requires shtab; install it, or install this package with the extra cli"
        ) from None
    parser = arguments.parser()
    files = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
    for action in _actions(parser):
        if action.metavar in files:
            action.complete = files[str(action.metavar)]  # type: ignore[attr-defined] # for shtab
    return str(shtab.complete(parser, shell)).rstrip()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no public list
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for choice in action._choices_actions:  # noqa: SLF001
                command = action.choices[choice.dest]
                command.description = choice.help  # shtab shows the first line of a description
                yield from _actions(command)
