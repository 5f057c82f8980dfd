"""Shell blocks of the documentation that are marked as tried, and whether what they show is true.

A block is marked by the line `<!-- tried -->` before its fence; `<!-- tried: fails -->` when the
last command is meant to fail. In a block with `$ ` prompts the rest is what the commands print, in
which `…` stands for anything; ids, times, ages and addresses may differ. A block without prompts is
code alone.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

TRIED = re.compile(r"<!-- tried(?P<fails>: fails)? -->\n```console\n(?P<text>.*?)```", re.DOTALL)
MARK = "@@@@ shown above:"
AFTER = f"code=$?; echo; echo '{MARK}' $code; (exit $code)"
"""Says how a command ended, and leaves its exit code to the next."""
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
    """What a reader types, and what the page says of it.

    Attributes:
        fails: its exit code is not 0; the page says so, or asks for it right after.
    """

    words: str
    shown: tuple[str, ...] = ()
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    command: Command
    code: int
    told: str

    @property
    def missing(self) -> list[str]:
        """Lines that the page shows and the command did not print, or not in this order."""
        told = iter(self.told.splitlines())
        patterns = [(line, _pattern(line)) for line in self.command.shown]
        return [
            line
            for line, pattern in patterns
            if not any(pattern.fullmatch(_plain(row)) for row in told)
        ]


def blocks(page: str) -> Iterator[list[Command]]:
    """The tried blocks of a page, from top to bottom."""
    for block in TRIED.finditer(page):
        made = list(_commands(block["text"]))
        asked = [one.words for one in made[1:]] + [""]
        yield [
            replace(one, fails=(then == "echo $?") or (bool(block["fails"]) and one is made[-1]))
            for one, then in zip(made, asked, strict=True)
        ]


def _commands(text: str) -> Iterator[Command]:
    if not text.startswith("$ "):
        yield Command(f"set -e\n{text}set +e")
        return
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        words, *rest = re.split(r"(?<!\\)\n", part, maxsplit=1)
        shown = [line for line in "".join(rest).splitlines() if line.strip() not in ("", "…")]
        yield Command(words, tuple(shown))


def run(these: Sequence[Command], *, where: Path, env: Mapping[str, str]) -> Iterator[Ended]:
    """Run commands one after the other in one shell, as a reader does."""
    script = "".join(f"{one.words}\n{AFTER}\n" for one in these)
    ended = subprocess.run(
        ["bash"],
        input=script,
        capture_output=True,
        text=True,
        cwd=where,
        env=dict(env),
        timeout=300,
        check=False,
    )
    told = re.split(rf"^{MARK} (\d+)\n", ended.stdout, flags=re.MULTILINE)
    for command, text, code in zip(these, told[0::2], told[1::2], strict=False):
        yield Ended(command, int(code), text if not int(code) else text + ended.stderr)


def _plain(line: str) -> str:
    for pattern, word in LOOSE:
        line = pattern.sub(word, line)
    return line.strip()


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in _plain(line).split("…")))
