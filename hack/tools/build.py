"""Builds the programs of the local control plane, once, and prints the directory they are in.

Standard library only: this runs before anything is installed. The directory is the last line on
stdout, all else goes to stderr.

    python3 hack/tools/build.py            # kube-apiserver, etcd, kubectl
    python3 hack/tools/build.py kubectl    # only this one
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools import toolchain  # noqa: E402 - after the path
from tools.progress import CommandError, Progress, run, say  # noqa: E402 - after the path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class Program:
    """A program to build from a package that `go.mod` pins.

    Attributes:
        cold_s: seconds on two cores with an empty build cache, each after those before it in
            `PROGRAMS` (what one has compiled the next need not).
    """

    name: str
    package: str
    cold_s: int


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", 50),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 105),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 165),
)

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
    names = parser.parse_args().names or list(known)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"not a program of this build: {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        print(ensure([known[name] for name in names], os.environ))
    except BuildError as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the next run goes on where this one stopped")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def ensure(programs: Sequence[Program], env: Mapping[str, str]) -> Path:
    """Return the directory that holds all the programs; build those that no directory has.

    Raises:
        BuildError: a program could not be built.
    """
    assets = env.get("KUBEBUILDER_ASSETS")
    if assets and not _missing(programs, Path(assets)):
        return Path(assets).resolve()
    cache = Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache", "image-share-operator/tools")
    target = cache / _key()
    if not _missing(programs, target):
        return target
    try:
        target.mkdir(parents=True, exist_ok=True)
        with _lock(cache / "lock"):
            if missing := _missing(programs, target):  # another run may have built them meanwhile
                _build_all(missing, target, env)
    except toolchain.NoToolchainError as exc:
        raise BuildError(str(exc)) from exc
    except CommandError as exc:
        say(exc.output)
        raise BuildError(f"{exc}: {_hint(exc.output)}") from exc
    except OSError as exc:
        raise BuildError(f"{exc.strerror}: {exc.filename or cache}") from exc
    return target


def kubernetes_version() -> str:
    """The pinned version, such as ``v1.36.3``."""
    return _from_go_mod(r"require k8s\.io/kubernetes (v\d+\.\d+\.\d+\S*)")


def _from_go_mod(pattern: str) -> str:
    found = re.search(rf"^{pattern}", (HERE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise BuildError(f"{HERE / 'go.mod'} has no line that matches {pattern}")
    return found[1]


def _ldflags() -> str:
    """Without the version, clients can't parse what kubectl and kube-apiserver call themselves."""
    version = kubernetes_version()
    major, minor, _ = version.removeprefix("v").split(".", 2)
    facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    stamps = [f"-X k8s.io/component-base/version.{name}={text}" for name, text in facts.items()]
    return " ".join(["-s -w", *stamps])


def _key() -> str:
    """Name the build: another pin, another flag or another machine is another directory."""
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((HERE / name).read_bytes())
    digest.update(" ".join([_ldflags(), *_go_env({})]).encode())
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"{kubernetes_version()}-{digest.hexdigest()[:12]}-{platform.system().lower()}-{machine}"


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


def _build_all(programs: Sequence[Program], target: Path, env: Mapping[str, str]) -> None:
    go = toolchain.find(_from_go_mod(r"go (\d+\.\d+(?:\.\d+)?)"), target.parent, env)
    minutes = round(sum(program.cold_s for program in programs) / 60)
    names = ", ".join(program.name for program in programs)
    say(f"building {names} (Kubernetes {kubernetes_version()}), once: about {minutes} min")
    say("on 2 cores and 4 GB of disk the first time, seconds if Go has them in its cache")
    with toolchain.scratch(target) as scratch:
        for program in programs:
            _build(program, go, scratch / program.name, _go_env(env))
            (scratch / program.name).replace(target / program.name)


def _build(program: Program, go: Path, output: Path, env: Mapping[str, str]) -> None:
    began = time.monotonic()
    listing = ["list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", program.package]

    def loaded(lines: int) -> str:
        return f"{lines} modules downloaded" if lines else "reading packages"

    packages = run([str(go), *listing], Progress(program.name, loaded), env=env, cwd=HERE)
    total = sum(bool(package) for package in packages)

    def compiled(lines: int) -> str:
        return f"{lines} of {total} packages compiled" if lines < total else "linking"

    command = [str(go), "build", "-v", "-ldflags", _ldflags(), "-o", str(output), program.package]
    run(command, Progress(program.name, compiled), env=env, cwd=HERE)
    say(f"{program.name}: built in {time.monotonic() - began:.0f} s")


def _hint(output: str) -> str:
    if "no space left on device" in output.lower():
        return "the disk is full; a first build needs 4 GB (Go's caches and the programs)"
    if NETWORK_TROUBLE.search(output):
        return "it needs PyPI and the Go module proxy; see HTTPS_PROXY, GOPROXY, PIP_INDEX_URL"
    return "what it said is above"


if __name__ == "__main__":
    main()
