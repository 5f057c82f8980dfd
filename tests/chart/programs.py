"""helm and kubeconform as the tests call them: pinned, installed once, no settings of the user."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from envtest import binaries

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/image-share-operator"
PROGRAMS = ("kubeconform", "helm")
RELEASE = "image-share-operator"
SYSTEM = "image-share-system"
HELM_S = 60.0

Json = dict[str, Any]


class HelmError(Exception):
    """helm returned anything but 0; the message is what it said."""


class Helm:
    """helm with a home of its own, and for `install` and the like a cluster.

    Args:
        home: where it keeps what it would keep in the user's home.
        kubeconfig: ``None`` for calls that need no cluster.
    """

    def __init__(
        self, home: Path, kubeconfig: Path | None = None, *, timeout_s: float = HELM_S
    ) -> None:
        self._home = home
        self._timeout_s = timeout_s
        self._env = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(home),
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
            "KUBECONFIG": str(kubeconfig or home / "none"),
        }

    def at(self, kubeconfig: Path) -> "Helm":
        """The same for a cluster."""
        return Helm(self._home, kubeconfig)

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run helm and return its stdout.

        Raises:
            HelmError: it returned anything but 0.
        """
        call = subprocess.run(
            [str(binaries.directory(*PROGRAMS) / "helm"), *arguments],
            env=self._env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=self._timeout_s,
            check=False,
        )
        if call.returncode != 0:
            raise HelmError(f"{call.stdout}{call.stderr}".strip())
        return call.stdout

    def uninstall_all(self) -> None:
        """Uninstall the releases of all namespaces."""
        for row in json.loads(self("list", "--all-namespaces", "--output", "json")):
            self("uninstall", row["name"], "--namespace", row["namespace"])

    def render(self, values: Mapping[str, Any] | Path, *arguments: str) -> list[Json]:
        """The objects that the chart makes of these values, in the order in which helm has them."""
        call = ["template", RELEASE, str(CHART), "--namespace", SYSTEM, *arguments]
        if isinstance(values, Path):
            text = self(*call, "--values", str(values))
        else:
            text = self(*call, "--values", "-", stdin=yaml.safe_dump(dict(values)))
        return [document for document in yaml.safe_load_all(text) if document]


def value_sets() -> list[Path]:
    """The values files in the form that chart-testing finds."""
    return sorted((CHART / "ci").glob("*-values.yaml"))
