"""Builds the programs of the local control plane, once, and prints the directory they are in.

Standard library only: this runs before anything is installed. The directory is the last line on
stdout, all else goes to stderr. The programs that work on the chart or on metrics are built by
name, and are in directories of their own.

    python3 hack/tools/build.py                     # kube-apiserver, etcd, kubectl
    python3 hack/tools/build.py kubectl             # only this one
    python3 hack/tools/build.py helm kubeconform    # what the tests of the chart need
    python3 hack/tools/build.py promtool prometheus # what the tests of metrics and alerts need
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools import toolchain  # noqa: E402 - after the path
from tools.pins import (  # noqa: E402 - after the path
    CONTROL_PLANE,
    PROGRAMS,
    Module,
    PinError,
    Program,
    ldflags,
)
from tools.progress import CommandError, Progress, run, say  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


NETWORK_TROUBLE = re.compile(
    r"dial tcp|no such host|i/o timeout|connection re(fused|set)|TLS handshake|x509:|proxyconnect"
    r"|network is unreachable|name resolution|NewConnectionError|No matching distribution"
)


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
        target = cache / module.key(_go_env({}))
        if not _missing(programs, target):
            return target
        target.mkdir(parents=True, exist_ok=True)
        with _lock(cache / "lock"):
            if missing := _missing(programs, target):  # another run may have built them meanwhile
                _build_all(missing, module, target, env)
    except (toolchain.NoToolchainError, PinError) as exc:
        raise BuildError(str(exc)) from exc
    except CommandError as exc:
        say(exc.output)
        raise BuildError(f"{exc}: {_hint(exc.output)}") from exc
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


def _go_env(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would make another build of it."""
    mine = {name: text for name, text in env.items() if name not in ("GOOS", "GOARCH", "GOROOT")}
    return mine | {
        "CGO_ENABLED": "0",
        # Not empty: Go takes an empty one for unset, and reads the user's `go env -w` file.
        "GOFLAGS": "-trimpath",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _build_all(
    programs: Sequence[Program], module: Module, target: Path, env: Mapping[str, str]
) -> None:
    go = toolchain.find(module.go(), target.parent, env)
    minutes = round(sum(program.cold_s for program in programs) / 60)
    names = ", ".join(program.name for program in programs)
    say(f"building {names} ({module.title} {module.version()}), once: about {minutes} min")
    say(
        f"on 2 cores and {module.disk_gb} GB of disk the first time, seconds if Go has them in its "
        "cache"
    )
    with toolchain.scratch(target) as scratch:
        for program in programs:
            _build(program, go, scratch / program.name, _go_env(env))
            (scratch / program.name).replace(target / program.name)


def _build(program: Program, go: Path, output: Path, env: Mapping[str, str]) -> None:
    began = time.monotonic()
    tags = f"-tags={program.tags}"
    listing = ["list", tags, "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", program.package]

    def loaded(lines: int) -> str:
        return f"{lines} modules downloaded" if lines else "reading packages"

    packages = run(
        [str(go), *listing], Progress(program.name, loaded), env=env, cwd=program.module.path
    )
    total = sum(bool(package) for package in packages)

    def compiled(lines: int) -> str:
        return f"{lines} of {total} packages compiled" if lines < total else "linking"

    command = [
        str(go),
        "build",
        tags,
        "-v",
        "-ldflags",
        ldflags(program),
        "-o",
        str(output),
        program.package,
    ]
    run(command, Progress(program.name, compiled), env=env, cwd=program.module.path)
    say(f"{program.name}: built in {time.monotonic() - began:.0f} s")


def _hint(output: str) -> str:
    if "no space left on device" in output.lower():
        return "the disk is full; a first build needs 4 GB (Go's caches and the programs)"
    if NETWORK_TROUBLE.search(output):
        return "it needs PyPI and the Go module proxy; see HTTPS_PROXY, GOPROXY, PIP_INDEX_URL"
    return "what it said is above"


if __name__ == "__main__":
    main()
