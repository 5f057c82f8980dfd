"""The commands for a cluster, as a user runs them."""

from collections.abc import Callable

import pytest

from cli.command import Ended
from image_share_operator.__main__ import main

Command = Callable[..., Ended]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process."""

    def command(*words: object) -> Ended:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as exc:  # argparse exits the process
            code = int(exc.code or 0)
        out, err = capfd.readouterr()
        return Ended(code=code, out=out, err=err)

    return command
