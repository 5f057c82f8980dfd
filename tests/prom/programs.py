"""promtool and prometheus: pinned, installed once."""

import subprocess
from pathlib import Path

PROGRAMS = ("promtool", "prometheus")


class PromtoolError(Exception):
    """promtool returned anything but 0; the message is what it said."""


class Promtool:
    """promtool as a person calls it."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / "promtool")

    def check_metrics(self, scrape: str) -> str:
        """Lint a scrape; return what it said of it.

        Raises:
            PromtoolError: it is not as Prometheus asks.
        """
        return self._run("check", "metrics", stdin=scrape)

    def check_rules(self, rules: Path) -> str:
        """Check and lint a file of rules."""
        return self._run("check", "rules", "--lint=all", "--lint-fatal", str(rules))

    def test_rules(self, tests: Path) -> str:
        """Run the tests in a file."""
        return self._run("test", "rules", str(tests))

    def _run(self, *words: str, stdin: str = "") -> str:
        call = subprocess.run(
            [self._path, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"{call.stdout}{call.stderr}"
        if call.returncode != 0:
            raise PromtoolError(said)
        return said
