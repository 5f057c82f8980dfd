"""Starts Python programs by fork: one interpreter imports their modules once for all of them.

The imports of an operator take more CPU time than the rest of what it does in a test.
`multiprocessing` has a fork server too; its children skip the end of an interpreter: no `atexit`,
no shutdown beside daemon threads.
"""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envtest import forking
from envtest.processes import Server, launch

POLL_S = 0.02


class ForkServer:
    """The interpreter that forks. It and its children end with this process, however it ends.

    Args:
        modules: imported before the first fork.
        path: directories to import from, before all others.
    """

    def __init__(self, *modules: str, path: Sequence[Path]) -> None:
        search = [*map(str, path), os.environ.get("PYTHONPATH", "")]
        self._lock = threading.Lock()
        self._process = launch(
            [sys.executable, str(forking.__file__), *modules],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        atexit.register(self.close)

    def close(self) -> None:
        """End the server and all that it started."""
        self._process.kill()
        self._process.communicate()

    def start(
        self, program: Sequence[str], *, directory: Path, log: Path, env: Mapping[str, str]
    ) -> "Child":
        """Run a program with the arguments of ``python``: ``-m`` and a module, or a file.

        Args:
            directory: where it runs.
            log: gets stdout and stderr, after what is in it.
            env: all of its environment; what only counts at the start of an interpreter does
                nothing, such as PYTHONPATH.
        """
        pid = self._ask(
            {"program": list(program), "directory": str(directory), "log": str(log), "env": {**env}}
        )
        assert pid is not None
        return Child(self, pid)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a child, once; ``None`` while it runs."""
        return self._ask({"pid": pid})

    def _ask(self, request: Mapping[str, Any]) -> int | None:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        line = b""
        with self._lock, contextlib.suppress(BrokenPipeError):
            asked.write(json.dumps(request).encode() + b"\n")
            asked.flush()
            line = answers.readline()
        if not line:
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        answer: int | None = json.loads(line)
        return answer


class Child:
    """A process that the fork server started, with the methods that `subprocess.Popen` has."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def poll(self) -> int | None:
        # Until the server is asked, it keeps the pid from being used again.
        if self._code is None:
            self._code = self._server.exit_code(self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        began = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired(f"pid {self.pid}", timeout)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkedServer(Server):
    """A `Server` that is a Python program started by fork."""

    def __init__(
        self,
        server: ForkServer,
        program: Sequence[str],
        *,
        directory: Path,
        log: Path,
        env: Mapping[str, str],
    ) -> None:
        self.name = program[-1]
        self.log = log
        self._process = server.start(program, directory=directory, log=log, env=env)
