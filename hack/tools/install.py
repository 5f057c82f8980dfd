"""Builds the programs of the local control plane, once, and prints the directory they are in.

Standard library only: this runs before anything is installed. The directory is the last line on
stdout, all else goes to stderr. The programs that work on the chart or on metrics are built by
name, and are in directories of their own.

    python3 hack/tools/install.py                     # kube-apiserver, etcd, kubectl
    python3 hack/tools/install.py kubectl             # only this one
    python3 hack/tools/install.py helm kubeconform    # what the tests of the chart need
    python3 hack/tools/install.py promtool prometheus # what the tests of metrics and alerts need
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools import source  # noqa: E402 - after the path
from tools.pins import CONTROL_PLANE, PROGRAMS, PinError, Program  # noqa: E402 - after the path
from tools.progress import CommandError, say  # noqa: E402 - after the path
from tools.toolchain import NoToolchainError  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class BuildError(Exception):
    """What went wrong and what to do about it, for the person at the terminal."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    known = {program.name: program for program in PROGRAMS}
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(known)}")
    names = parser.parse_args().names or [
        program.name for program in PROGRAMS if program.module is CONTROL_PLANE
    ]
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"not a program of this build: {', '.join(unknown)}")
    chosen = [program for program in PROGRAMS if program.name in names]
    if len({program.module for program in chosen}) > 1:
        parser.error("these are in different directories: call once for each")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(ensure(chosen, os.environ))
    except BuildError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the next run goes on where this one stopped")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def ensure(programs: Sequence[Program], env: Mapping[str, str]) -> Path:
    """Return the directory that holds all the programs; build those that no directory has.

    Args:
        programs: at least one, all of one module.

    Raises:
        BuildError: a program could not be built.
    """
    assets = env.get("KUBEBUILDER_ASSETS")
    if assets and not _missing(programs, Path(assets)):
        return Path(assets).resolve()
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache", "image-share-operator/tools")
    module = programs[0].module
    try:
        target = cache / source.key(module)
        if not _missing(programs, target):
            return target
        target.mkdir(parents=True, exist_ok=True)
        with _lock(cache / "lock"):
            if missing := _missing(programs, target):  # another run may have built them meanwhile
                source.build(missing, target, env)
    except (NoToolchainError, PinError) as exc:
        raise BuildError(str(exc)) from exc
    except CommandError as exc:
        say(exc.output)
        raise BuildError(f"{exc}: {source.hint(exc.output)}") from exc
    except OSError as exc:
        raise BuildError(f"{exc.strerror}: {exc.filename or cache}") from exc
    return target


def _missing(programs: Sequence[Program], directory: Path) -> list[Program]:
    return [program for program in programs if not os.access(directory / program.name, os.X_OK)]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one run build and the others wait; the lock goes with the process that holds it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is building these programs: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
