"""Shows how far a command or a download is, on stderr. Standard library only."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DRAW_EVERY_S = 0.2
LINE_EVERY_S = 15.0


class CommandError(Exception):
    """A command failed.

    Attributes:
        output: the last lines of its stderr.
    """

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"{command} failed")
        self.output = output


class Progress:
    """One moving line in a terminal, a plain line now and then in a pipe.

    Args:
        done: from the count to words such as ``12 of 300 packages compiled``.
        line_every_s: between the plain lines.

    Attributes:
        count: what is done: lines on stderr of a command, bytes of a download.
    """

    def __init__(
        self, what: str, done: Callable[[int], str], line_every_s: float = LINE_EVERY_S
    ) -> None:
        self.count = 0
        self._what = what
        self._done = done
        self._line_every_s = line_every_s
        self._began = self._shown = time.monotonic()
        self._moving = sys.stderr.isatty()

    def show(self) -> None:
        """Draw the line if it is time to."""
        now = time.monotonic()
        if now < self._shown + (DRAW_EVERY_S if self._moving else self._line_every_s):
            return
        self._shown = now
        line = f"{self._what}: {self._done(self.count)}, {now - self._began:.0f} s"
        say(line, end="" if self._moving else "\n")

    def clear(self) -> None:
        """Give the line back to whoever writes next."""
        if self._moving:
            say("", end="")


def say(text: str, end: str = "\n") -> None:
    """Write to stderr, over the moving line if there is one."""
    start = "\r\033[K" if sys.stderr.isatty() else ""
    print(f"{start}{text}", end=end, file=sys.stderr, flush=True)


def run(
    command: Sequence[str], progress: Progress, *, env: Mapping[str, str], cwd: Path
) -> list[str]:
    """Run to the end and return the lines of stdout.

    Raises:
        CommandError: it returned anything but 0.
    """
    process = subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    answer: list[str] = []
    tail: deque[str] = deque(maxlen=20)
    readers = [
        threading.Thread(target=_keep, args=(process.stdout, answer)),
        threading.Thread(target=_count, args=(process.stderr, tail, progress)),
    ]
    for reader in readers:
        reader.start()
    try:
        _watch(process, progress)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)  # Go ends its compilers on this one
            process.wait()
        for reader in readers:
            reader.join()
        progress.clear()
    if process.returncode != 0:
        name = " ".join([Path(command[0]).name, *command[1:3]])
        raise CommandError(name, "\n".join(tail))
    return answer


def _watch(process: subprocess.Popen[str], progress: Progress) -> None:
    while True:
        try:
            process.wait(timeout=DRAW_EVERY_S)
        except subprocess.TimeoutExpired:
            progress.show()
        else:
            return


def _keep(stream: IO[str], into: list[str]) -> None:
    into.extend(line.rstrip("\n") for line in stream)


def _count(stream: IO[str], tail: deque[str], progress: Progress) -> None:
    for line in stream:
        progress.count += 1
        tail.append(line.rstrip("\n"))
