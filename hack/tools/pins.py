"""Which programs there are, and from which pinned modules they are built. Standard library only.

Three modules, because one would have to build all from the same Kubernetes libraries, and Helm
and Prometheus follow other releases of them than the API server that the tests run.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).resolve().parent


class PinError(Exception):
    """A go.mod or archives.toml does not say what it must."""


def platform_name() -> str:
    """Name this machine as Go does, such as ``linux-amd64``."""
    machine = platform.machine()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    return f"{platform.system().lower()}-{machine}"


@dataclass(frozen=True)
class Module:
    """A go.mod and the programs that are built from it, which share a directory.

    Attributes:
        title: what its programs are of, for people.
        leader: the module whose version is the version of the whole.
        disk_gb: what a first build takes, Go's caches included.
    """

    path: Path
    title: str
    leader: str
    disk_gb: int

    def version(self) -> str:
        """The leader's version, such as ``v1.36.3``."""
        return self.version_of(self.leader)

    def version_of(self, module: str) -> str:
        """The pinned version of a module that go.mod requires."""
        return self._find(rf"(?:require |\t){re.escape(module)} (v\d+\.\d+\.\d+\S*)")

    def go(self) -> str:
        """The oldest Go that builds it, such as ``1.26.0``."""
        return self._find(r"go (\d+\.\d+(?:\.\d+)?)")

    def key(self, env: Mapping[str, str]) -> str:
        """Name the build: another pin, another flag or another machine is another directory.

        Args:
            env: all that the build adds to the caller's environment.
        """
        digest = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            digest.update((self.path / name).read_bytes())
        mine = [program for program in PROGRAMS if program.module is self]
        flags = [f"{ldflags(program)}{program.tags}" for program in mine]
        digest.update(" ".join([*dict.fromkeys(flags), *env]).encode())
        return f"{self.version()}-{digest.hexdigest()[:12]}-{platform_name()}"

    def _find(self, pattern: str) -> str:
        found = re.search(rf"^{pattern}", (self.path / "go.mod").read_text(), re.MULTILINE)
        if found is None:
            raise PinError(f"{self.path / 'go.mod'} has no line that matches {pattern}")
        return found[1]


CONTROL_PLANE = Module(HERE, "Kubernetes", "k8s.io/kubernetes", 4)
SCHEDULER = Module(HERE, "kube-scheduler of Kubernetes", "k8s.io/kubernetes", 4)
"""Of the same go.mod, but no release archive has it: a group of its own, for one test."""
CHART = Module(HERE / "chart", "Helm", "helm.sh/helm/v4", 2)
METRICS = Module(HERE / "metrics", "Prometheus", "github.com/prometheus/prometheus", 2)
NO_DISCOVERY = "remove_all_sd"
"""Prometheus without the SDKs of all clouds."""


@dataclass(frozen=True)
class Program:
    """A program to build from a package that its module pins.

    Attributes:
        cold_s: seconds on two cores with an empty build cache, each after those before it of its
            module (what one has compiled the next need not).
        tags: build tags, separated by commas.
    """

    name: str
    package: str
    cold_s: int
    module: Module = CONTROL_PLANE
    tags: str = ""


PROGRAMS = (
    Program("etcd", "go.etcd.io/etcd/server/v3", 50),
    Program("kubectl", "k8s.io/kubernetes/cmd/kubectl", 105),
    Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", 165),
    Program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", 45, SCHEDULER),
    Program("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", 25, CHART),
    Program("helm", "helm.sh/helm/v4/cmd/helm", 145, CHART),
    Program(
        "promtool", "github.com/prometheus/prometheus/cmd/promtool", 120, METRICS, NO_DISCOVERY
    ),
    Program(
        "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", 60, METRICS, NO_DISCOVERY
    ),
)


def ldflags(program: Program) -> str:
    """Smaller programs that know their version; clients parse what kube-apiserver calls itself."""
    version = program.module.version()
    if program.module.leader == CONTROL_PLANE.leader:
        major, minor, _ = version.removeprefix("v").split(".", 2)
        facts = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
        stamps = [f"-X k8s.io/component-base/version.{name}={text}" for name, text in facts.items()]
    elif program.name == "helm":
        stamps = [f"-X helm.sh/helm/v4/internal/version.version={version}"]
    elif program.module is METRICS:
        stamps = [f"-X github.com/prometheus/common/version.Version={version}"]
    else:
        stamps = [f"-X main.version={program.module.version_of('github.com/yannh/kubeconform')}"]
    return " ".join(["-s -w", *stamps])
