"""Server processes that end with this one, however it ends. No knowledge of Kubernetes."""

import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from envtest.failures import ControlPlaneError

STOP_S = 30.0
"""As long as kubelet waits by default."""
TAIL_LINES = 25
PATIENCE_S = 120.0
"""For what takes seconds on an idle machine: only a last resort, a busy machine gets time."""
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25

Found = TypeVar("Found")

# Runs in the child, which then becomes the server: the kernel kills it when its parent dies.
# The parent may have died before the call, so it is compared. 1 is PR_SET_PDEATHSIG of
# prctl(2); where there is no prctl (macOS) a killed parent leaves its servers behind.
_LAUNCH = """
import ctypes, os, signal, sys
prctl = getattr(ctypes.CDLL(None), "prctl", None)
if prctl is not None:
    prctl(1, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""

# PR_SET_PDEATHSIG means the death of the *thread* that started the child. All are started from
# this one, which lives as long as the process: a worker thread of a test may not.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="envtest-starter")


def eventually(find: Callable[[], Found | None], *, within_s: float = PATIENCE_S) -> Found:
    """Call ``find`` until it returns something.

    The pause grows to a quarter of a second, so that a long wait costs few calls.

    Raises:
        TimeoutError: it returned nothing in time.
    """
    began = time.monotonic()
    while True:
        found = find()
        if found is not None:
            return found
        waited = time.monotonic() - began
        if waited > within_s:
            raise TimeoutError(f"not within {within_s:g} s")
        time.sleep(min(max(waited / 10, FIRST_PAUSE_S), LONGEST_PAUSE_S))


class Running(ABC):
    """Starts on entry and stops on exit; used as a context manager."""

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Process(Protocol):
    """What `Server` needs of `subprocess.Popen`."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def terminate(self) -> None: ...


class Server:
    """One server process and its log file.

    Args:
        command: the program, as a full path, and its arguments.
        directory: where it runs.
        log: gets stdout and stderr, after what is in it.
        env: all of its environment; ``None`` is ours.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        directory: Path,
        log: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = Path(command[0]).name
        self.log = log
        with log.open("ab") as output:
            self._process: Process = launch(
                command,
                cwd=directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; ``None`` while it runs."""
        return self._process.poll()

    def require_running(self) -> None:
        """Raise `ControlPlaneError` with the end of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            raise ControlPlaneError(f"{self.name} ended with {code}\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of the log, with the path where the rest is."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- the end of {self.log}", *lines, "---"])

    def stop(self, within_s: float = STOP_S) -> None:
        """End it by SIGTERM, and by SIGKILL if it is not quick enough."""
        self._process.terminate()
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def launch(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a process that the kernel kills when this one dies.

    Args:
        options: of `subprocess.Popen`.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command]

    def start() -> subprocess.Popen[bytes]:
        # In a session of its own, Ctrl-C reaches us alone, and we stop all of them in order.
        return subprocess.Popen(launcher, start_new_session=True, **options)

    return _starter.submit(start).result()


def reserve_port() -> socket.socket:
    """Take a free loopback port that only a server with SO_REUSEPORT of this user can share.

    The socket never listens, so it gets no connection: it keeps the port ours between the
    choice and the server's bind, and while the server restarts. Keep it open as long as that.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def free_port() -> int:
    """A loopback port that is free now, for a server that can't share one that is reserved."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
