"""The program of the fork server: imports modules, then forks for each request on stdin.

Arguments: the modules. A line on stdin is a JSON object, and each gets a line of JSON back: the pid
of a new process, or the exit code of an older one. Standard library only: what is imported here is
imported in each program.
"""

import ctypes
import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from typing import Any

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def serve() -> Mapping[str, Any] | None:
    """Answer requests until stdin ends; in a child, return the request that it is for."""
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        answer = os.fork() if "program" in request else exit_code(request["pid"])
        if answer == 0 and "program" in request:
            return dict(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def exit_code(pid: int) -> int | None:
    """Return the exit code of a child; ``None`` while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def become(request: Mapping[str, Any], server: int) -> None:
    """Run the program in this process, as an interpreter that was started for it does."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            sys.exit("the fork server is gone")
    os.setsid()
    os.chdir(request["directory"])
    with open(os.devnull) as nothing, open(request["log"], "ab") as log:  # noqa: PTH123 - light
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(request["env"])
    first, *rest = request["program"]
    if first == "-m":
        sys.argv[1:] = rest[1:]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = [first, *rest]
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    me = os.getpid()
    asked = serve()
    if asked is not None:
        become(asked, me)
