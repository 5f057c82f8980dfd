"""Builds programs from the modules that go.mod pins. Standard library only."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from tools import toolchain
from tools.pins import Module, Program, ldflags
from tools.progress import Progress, run, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NETWORK_ERROR = re.compile(
    r"dial tcp|no such host|i/o timeout|connection re(fused|set)|TLS handshake|x509:|proxyconnect"
    r"|network is unreachable|name resolution|NewConnectionError|No matching distribution"
)


def key(module: Module) -> str:
    """Name the directory of the programs that are built from this module."""
    return module.key(_go_env({}))


def build(programs: Sequence[Program], target: Path, env: Mapping[str, str]) -> None:
    """Build the programs into the directory ``target``.

    Args:
        programs: at least one, all of one module.

    Raises:
        CommandError: Go failed.
        NoToolchainError: there is no Go and no way to get one.
    """
    module = programs[0].module
    target.mkdir(parents=True, exist_ok=True)
    go = toolchain.find(module.go(), target.parent, env)
    minutes = max(1, round(sum(program.cold_s for program in programs) / 60))
    names = ", ".join(program.name for program in programs)
    say(f"{names}: building {module.title} {module.version()} from source, once")
    say(
        f"about {minutes} min on 2 cores and {module.disk_gb} GB of disk, seconds if Go has the "
        "packages in its cache"
    )
    with toolchain.scratch(target) as scratch:
        for program in programs:
            _build(program, go, scratch / program.name, _go_env(env))
            (scratch / program.name).replace(target / program.name)


def hint(output: str) -> str:
    """Say what to do about a failed command with this output."""
    if "no space left on device" in output.lower():
        return "the disk is full; a first build needs 4 GB (Go's caches and the programs)"
    if NETWORK_ERROR.search(output):
        return "it needs PyPI and the Go module proxy; see HTTPS_PROXY, GOPROXY, PIP_INDEX_URL"
    return "its output is above"


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
