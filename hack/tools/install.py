"""Installs the programs of the local control plane and prints the directory they are in.

It uses the first of these sources that works, and its first lines on stderr say which:

1. the directory in KUBEBUILDER_ASSETS
2. the user's cache
3. the official release archives, whose hashes are in archives.toml
4. a build from source, of the modules in go.mod

Standard library only: this runs before anything is installed. The directory is the last line on
stdout. The programs that work on the chart or on metrics are installed by name, each group into
a directory of its own.

    python3 hack/tools/install.py                     # kube-apiserver, etcd, kubectl
    python3 hack/tools/install.py kubectl             # only this one
    python3 hack/tools/install.py helm kubeconform    # what the tests of the chart need
    python3 hack/tools/install.py promtool prometheus # what the tests of metrics and alerts need
    python3 hack/tools/install.py kube-scheduler      # for the test of the spread; always built

TOOLS_MIRROR=https://mirror.example/tools downloads https://get.helm.sh/FILE from
https://mirror.example/tools/get.helm.sh/FILE, and the same for the other hosts. HTTPS_PROXY and
NO_PROXY are honoured.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools import archives, source  # noqa: E402 - after the path
from tools.archives import Archive  # noqa: E402
from tools.download import (  # noqa: E402
    DEFAULTS,
    MIRROR,
    DownloadError,
    HashError,
    Limits,
    MirrorError,
    fetch,
    location,
)
from tools.pins import CONTROL_PLANE, PROGRAMS, PinError, Program, platform_name  # noqa: E402
from tools.progress import CommandError, say  # noqa: E402
from tools.toolchain import NoToolchainError, scratch  # noqa: E402
from tools.unpack import UnpackError, unpack  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class InstallError(Exception):
    """What went wrong and what to do about it, for the person at the terminal."""


class Build(Protocol):
    """Builds programs of one module from source into the directory ``target``."""

    def __call__(
        self, programs: Sequence[Program], target: Path, env: Mapping[str, str]
    ) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {program.name: program for program in PROGRAMS}
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(known)}")
    parser.add_argument(
        "--quiet", action="store_true", help="write nothing to stderr if nothing is to be installed"
    )
    arguments = parser.parse_args()
    names = arguments.names or [
        program.name for program in PROGRAMS if program.module is CONTROL_PLANE
    ]
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown program: {', '.join(unknown)}")
    chosen = [program for program in PROGRAMS if program.name in names]
    if len({program.module for program in chosen}) > 1:
        parser.error("these are in different directories: call once for each")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        pinned = archives.read(archives.PINS, platform_name())
        found = find(chosen, os.environ, pinned) if arguments.quiet else None
        print(found.directory if found else ensure(chosen, os.environ, pinned))
    except (InstallError, PinError) as exc:
        sys.exit(f"error: {exc}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the next run continues")


def _interrupt(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


@dataclass(frozen=True, slots=True)
class Found:
    """A directory that holds all the programs, and what it is."""

    directory: Path
    place: str


def find(
    programs: Sequence[Program], env: Mapping[str, str], pinned: Sequence[Archive]
) -> Found | None:
    """Return the directory that holds all the programs, if one does.

    Args:
        programs: at least one, all of one module.
        pinned: the archives for this platform.
    """
    assets = _assets(programs, env)
    if assets is not None and not _missing(programs, assets):
        return Found(assets.resolve(), "KUBEBUILDER_ASSETS")
    home = Store(cache_directory(env), programs, pinned).found()
    return None if home is None else Found(home, "the cache")


def ensure(
    programs: Sequence[Program],
    env: Mapping[str, str],
    pinned: Sequence[Archive],
    *,
    limits: Limits = DEFAULTS,
    build: Build = source.build,
) -> Path:
    """Return the directory that holds all the programs; install them if no directory does.

    Args:
        programs: at least one, all of one module.
        pinned: the archives for this platform.

    Raises:
        InstallError: a program cannot be installed.
    """
    assets = _assets(programs, env)
    if assets is not None and (absent := _missing(programs, assets)):
        say(f"KUBEBUILDER_ASSETS={assets} is not used: it has no {_names(absent)}")
    cache = cache_directory(env)
    try:
        if (found := find(programs, env, pinned)) is None:
            cache.mkdir(parents=True, exist_ok=True)
            with _lock(cache / "lock"):
                found = find(programs, env, pinned)  # installed by another run meanwhile
                if found is None:
                    return _install(Store(cache, programs, pinned), env, limits=limits, build=build)
    except (NoToolchainError, PinError, MirrorError) as exc:
        raise InstallError(str(exc)) from exc
    except CommandError as exc:
        say(exc.output)
        raise InstallError(f"{exc}: {source.hint(exc.output)}") from exc
    except OSError as exc:
        raise InstallError(f"{exc.strerror}: {exc.filename or cache}") from exc
    say(f"{_names(programs)}: found in {found.place}")
    return found.directory


def _assets(programs: Sequence[Program], env: Mapping[str, str]) -> Path | None:
    """Return the directory in KUBEBUILDER_ASSETS if these programs may be there."""
    assets = env.get("KUBEBUILDER_ASSETS")
    return Path(assets) if assets and programs[0].module is CONTROL_PLANE else None


def cache_directory(env: Mapping[str, str]) -> Path:
    """Return the user's cache of programs."""
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache", "image-share-operator/tools")


def _names(programs: Sequence[Program]) -> str:
    return ", ".join(program.name for program in programs)


class Store:
    """Where the cache holds some programs of one module.

    Attributes:
        programs: at least one.
        archives: those of their module; empty where none is pinned for this platform.
        prebuilt: the directory of the programs in the archives; ``None`` without archives.
        built: the directory of those that are built from source.
    """

    def __init__(self, cache: Path, programs: Sequence[Program], pinned: Sequence[Archive]) -> None:
        module = programs[0].module
        siblings = {program.name for program in PROGRAMS if program.module is module}
        self.cache = cache
        self.programs = programs
        self.archives = [archive for archive in pinned if siblings & set(archive.programs)]
        self.prebuilt = None
        if self.archives:
            self.prebuilt = cache / archives.key(self.archives, platform_name())
        self.built = cache / source.key(module)

    def found(self) -> Path | None:
        """Return the directory that holds all the programs, if one does."""
        for directory in (self.prebuilt, self.built):
            if directory is not None and not _missing(self.programs, directory):
                return directory
        return None


def _install(store: Store, env: Mapping[str, str], *, limits: Limits, build: Build) -> Path:
    """Download the programs, or build those that no directory has from source."""
    warning = ""
    try:
        return _download(store, env.get(MIRROR), limits=limits)
    except (HashError, UnpackError) as exc:
        warning = f"WARNING: {exc}"
        say(warning)
    except DownloadError as exc:
        say(f"cannot download: {exc}")
    build(_missing(store.programs, store.built), store.built, env)
    if warning:  # again: the first one is minutes and many lines above
        say(warning)
    return store.built


def _download(store: Store, mirror: str | None, *, limits: Limits) -> Path:
    """Download the archives of the programs and return the directory that then holds them."""
    if store.prebuilt is None:
        raise DownloadError(f"no release archive is pinned for {platform_name()}")
    missing = {program.name for program in _missing(store.programs, store.prebuilt)}
    if orphans := missing - {name for archive in store.archives for name in archive.programs}:
        raise DownloadError(f"no release archive with {', '.join(sorted(orphans))} is pinned")
    for archive in store.archives:
        if missing & set(archive.programs):
            url = location(archive.url, mirror)
            _download_one(archive, url, home=store.prebuilt, limits=limits)
    return store.prebuilt


def _download_one(archive: Archive, url: str, *, home: Path, limits: Limits) -> None:
    """Download one archive and put its programs into the directory ``home``."""
    downloads = home.parent / "downloads"
    downloads.mkdir(exist_ok=True)
    began = time.monotonic()
    names = ", ".join(archive.programs)
    say(f"{names}: downloading {archive} from {url.split('/')[2]}")
    file = fetch(archive, url, directory=downloads, limits=limits)
    size = file.stat().st_size
    home.mkdir(exist_ok=True)
    try:
        with scratch(home) as directory:
            unpack(file, archive.programs, directory=directory)
            for name in archive.programs:
                (directory / name).replace(home / name)
    except UnpackError as exc:
        raise UnpackError(f"{archive}: {exc}") from exc
    finally:
        file.unlink()
    seconds = time.monotonic() - began
    say(f"{names}: {size / 1e6:.1f} MB downloaded in {seconds:.1f} s, {archive.algorithm} verified")


def _missing(programs: Sequence[Program], directory: Path) -> list[Program]:
    return [program for program in programs if not os.access(directory / program.name, os.X_OK)]


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one run install and the others wait. The kernel releases the lock of a dead process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is installing programs: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    main()
