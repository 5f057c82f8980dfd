"""Shell blocks of the documentation that are marked as tried, and whether what they show is true.

The line `<!-- tried -->` before its fence marks a block of commands; `<!-- tried: exit 1 -->` when
the last command ends with that code. A block of `text` below it shows what the commands print, in
which `…` stands for anything; IDs, times, ages and addresses may differ.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TRIED = re.compile(
    r"^<!-- tried(?:: exit (?P<code>\d+))? -->\n```shell\n(?P<words>.*?)^```\n"
    r"(?:\n(?:The output[^\n]*:\n\n)?```text\n(?P<shown>.*?)^```)?",
    re.DOTALL | re.MULTILINE,
)
MARK = "@@@@ shown above:"
AFTER = f"code=$?; echo; echo '{MARK}' $code; (exit $code)"
"""Prints the exit code of a command, and leaves the code to the next command."""
LOOSE = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\b(\d+[smhd])+(?=[\s)]|$)"), "AGE"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "URL"),
    (re.compile(r'"python": "[\d.]+"'), "PYTHON"),
    (re.compile(r"\s+"), " "),
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True, slots=True)
class Command:
    """The commands of a block, and what the page says about them.

    Attributes:
        code: the exit code of the last command.
    """

    words: str
    shown: tuple[str, ...] = ()
    code: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    command: Command
    code: int
    output: str

    @property
    def missing(self) -> list[str]:
        """Lines that the page shows and the command did not print, or not in this order."""
        output = iter(self.output.splitlines())
        patterns = [(line, _pattern(line)) for line in self.command.shown]
        return [
            line
            for line, pattern in patterns
            if not any(pattern.fullmatch(_plain(row)) for row in output)
        ]


def blocks(page: str) -> Iterator[Command]:
    """The tried blocks of a page, from top to bottom."""
    for block in TRIED.finditer(page):
        shown = (block["shown"] or "").splitlines()
        yield Command(
            block["words"],
            tuple(line for line in shown if line.strip() not in ("", "…")),
            int(block["code"] or 0),
        )


def run(these: Sequence[Command], *, where: Path, env: Mapping[str, str]) -> Iterator[Ended]:
    """Run commands one after the other in one shell, as a reader does."""
    ended = subprocess.run(
        ["bash"],
        input="".join(_script(one) for one in these),
        capture_output=True,
        text=True,
        cwd=where,
        env=dict(env),
        timeout=300,
        check=False,
    )
    output = re.split(rf"^{MARK} (\d+)\n", ended.stdout, flags=re.MULTILINE)
    for command, text, code in zip(these, output[0::2], output[1::2], strict=False):
        yield Ended(command, int(code), text if not int(code) else text + ended.stderr)


def _script(command: Command) -> str:
    """Of several commands none may fail, so the shell ends when one does."""
    lines = re.split(r"(?<!\\)\n", command.words.strip())
    words = f"set -e\n{command.words}\nset +e" if len(lines) > 1 else command.words
    return f"{words}\n{AFTER}\n"


def _plain(line: str) -> str:
    for pattern, word in LOOSE:
        line = pattern.sub(word, line)
    return line.strip()


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _plain(line).split("…")))
