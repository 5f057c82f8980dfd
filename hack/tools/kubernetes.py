"""Builds kube-apiserver of another version of Kubernetes, and prints the directory it is in.

The tests run with the pinned version. To run them with another one:

    make kubernetes-test KUBERNETES=v1.28.15

etcd and kubectl are those of the pinned version. The modules come from the Go module proxy, and its
checksum database verifies them. Standard library only. The directory is the last line on stdout.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a script finds its neighbours without PYTHONPATH

from tools import install, toolchain  # noqa: E402 - after the path
from tools.pins import CONTROL_PLANE, platform_name  # noqa: E402
from tools.progress import CommandError, Progress, run, say  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping

APISERVER = "k8s.io/kubernetes/cmd/kube-apiserver"
STAGING = re.compile(r"^\s*(?:replace )?(k8s\.io/[\w-]+) => \./staging/", re.MULTILINE)
"""The modules that Kubernetes replaces by local paths, which do not reach those who import it."""
GO_LINE = re.compile(r"^go \S+$", re.MULTILINE)


def main() -> None:
    if len(sys.argv) != 2 or not re.fullmatch(r"v1\.\d+\.\d+", sys.argv[1]):  # noqa: PLR2004
        sys.exit(f"usage: {Path(sys.argv[0]).name} v1.MINOR.PATCH")
    try:
        print(ensure(sys.argv[1], os.environ))
    except CommandError as exc:
        say(exc.output)
        sys.exit(f"error: {exc}")


def ensure(version: str, env: Mapping[str, str]) -> Path:
    """Return the directory of the programs; build kube-apiserver if it is missing.

    Raises:
        CommandError: Go failed.
    """
    own = {name: text for name, text in env.items() if name != "KUBEBUILDER_ASSETS"}
    pinned = subprocess.run(
        [sys.executable, str(HERE / "install.py"), "--quiet"],
        env=own,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]
    home = install.cache_directory(own) / f"kubernetes-{version}-{platform_name()}"
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "kube-apiserver").exists():
        _build(version, home, own)
    for name in ("etcd", "kubectl"):
        (home / name).unlink(missing_ok=True)
        (home / name).symlink_to(Path(pinned) / name)
    return home


def _build(version: str, home: Path, env: Mapping[str, str]) -> None:
    go = str(toolchain.find(CONTROL_PLANE.go(), home.parent, env))
    flags = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -trimpath", "GOWORK": "off"}
    say(f"kube-apiserver: building Kubernetes {version} from source, once; about 6 min on 2 cores")
    base = "k8s.io/component-base/version"
    numbers = {"gitVersion": version, "gitMajor": "1", "gitMinor": version.split(".")[1]}
    ldflags = " ".join(["-s -w", *(f"-X {base}.{name}={text}" for name, text in numbers.items())])
    with toolchain.scratch(home) as directory:

        def call(*arguments: str) -> str:
            progress = Progress("kube-apiserver", lambda lines: f"{lines} packages")
            return "\n".join(run([go, *arguments], progress, env={**env, **flags}, cwd=directory))

        its_mod = json.loads(call("mod", "download", "-json", f"k8s.io/kubernetes@{version}"))
        (directory / "go.mod").write_text(go_mod(version, Path(its_mod["GoMod"]).read_text()))
        call("get", f"{APISERVER}@{version}")
        call("build", "-v", "-ldflags", ldflags, "-o", "kube-apiserver", APISERVER)
        (directory / "kube-apiserver").replace(home / "kube-apiserver")


def go_mod(version: str, its_mod: str) -> str:
    """Return a go.mod that builds kube-apiserver with the modules of its release.

    Args:
        its_mod: the go.mod of k8s.io/kubernetes.
    """
    library = version.replace("v1.", "v0.", 1)
    go = GO_LINE.search(its_mod)
    replaced = [f"{name} => {name} {library}" for name in STAGING.findall(its_mod)]
    lines = "\n".join(f"\t{text}" for text in dict.fromkeys(replaced))
    return (
        f"module image-share-operator.dev/kubernetes\n\n{go[0] if go else 'go 1.20'}\n\n"
        f"replace (\n{lines}\n)\n\nrequire k8s.io/kubernetes {version}\n"
    )


if __name__ == "__main__":
    main()
