"""What both tools share: the steps of a run, and a team with its files and its resources."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envtest import eventually
from otc_simulator.client import Simulator
from real_cluster.cluster import Cluster, Json

WAIT_S = 240.0
PASSWORD = "password-of-the-team"  # noqa: S105 - of a user of the simulated cloud
MERGE = {"Content-Type": "application/merge-patch+json"}
RECONCILE_AT = "ims.otc.dev/reconcile-at"

Files = Mapping[str, Json | list[Json]]


class StepFailedError(Exception):
    """The set-up does not do what the documentation says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run needs.

    Attributes:
        directory: for files of the run.
        address: of this machine, as the controllers reach it.
        server: URL of argocd-server; may be empty.
        stack: gets what removes the objects of the run.
    """

    cluster: Cluster
    directory: Path
    image: str
    address: str
    server: str
    stack: contextlib.ExitStack


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print the result and the time of a step."""
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"failed {time.monotonic() - began:6.1f} s  {what}", flush=True)
        raise
    print(f"ok     {time.monotonic() - began:6.1f} s  {what}", flush=True)


def until(holds: Callable[[], object]) -> None:
    """Wait until a condition is true.

    Raises:
        TimeoutError: it was not true in time.
    """
    eventually(lambda: True if holds() else None, within_s=WAIT_S)


def expect(actual: object, expected: object) -> None:
    """Raise `StepFailedError` if two values differ."""
    if actual != expected:
        raise StepFailedError(f"{actual!r}; expected {expected!r}")


def write(directory: Path, files: Files) -> None:
    """Write the files of a commit as YAML."""
    directory.mkdir(parents=True)
    for name, content in files.items():
        documents = content if isinstance(content, list) else [content]
        (directory / name).write_text(yaml.safe_dump_all(documents))


class Team:
    """The files of a team in Git: a Secret, and resources for the simulated cloud."""

    def __init__(self, sim: Simulator) -> None:
        self.sim = sim
        self.project = sim.add_project("eu-de_team")
        sim.add_user("team", PASSWORD)
        self.files: dict[str, Json] = {}
        self.set_password(PASSWORD)

    def set_password(self, password: str) -> None:
        """Change the password in the Secret."""
        data = {"username": "team", "password": password, "domainName": self.sim.domain}
        self.files["secret.yaml"] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "otc-credentials"},
            "stringData": data,
        }

    def add(self, name: str, image: str, **spec: Any) -> None:
        """Add the manifest of a resource that accepts an image."""
        self.files[f"{name}.yaml"] = {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {"name": name},
            "spec": {
                "endpoints": {"iam": self.sim.url, "ims": self.sim.url},
                "projectID": self.project,
                "decision": "Accept",
                "images": [image],
                "credentialsSecretRef": {"name": "otc-credentials"},
                **spec,
            },
        }

    def edit(self, name: str, **spec: Any) -> None:
        """Change fields in the manifest of a resource."""
        self.files[f"{name}.yaml"]["spec"].update(spec)

    def remove(self, name: str) -> None:
        del self.files[f"{name}.yaml"]

    def image(self, *, shared: bool = True) -> str:
        return self.sim.add_image(shared_with=(self.project,) if shared else ())

    def membership(self, image: str) -> str | None:
        return self.sim.membership(image, self.project)


class Resources:
    """The resources of a namespace in the cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._path = f"/apis/ims.otc.dev/v1alpha1/namespaces/{namespace}/imageshareacceptances"

    def find(self, name: str) -> Json | None:
        return self._cluster.find(f"{self._path}/{name}")

    def reason(self, name: str) -> str:
        """The reason of Ready; empty if there is no such resource."""
        rows = (self.find(name) or {}).get("status", {}).get("conditions", [])
        return next((row["reason"] for row in rows if row["type"] == "Ready"), "")

    def decision(self, name: str) -> str:
        return str(self._cluster.get(f"{self._path}/{name}")["spec"]["decision"])

    def handled(self, name: str) -> str:
        """The value of the annotation that asked for the latest check."""
        status = self._cluster.get(f"{self._path}/{name}")["status"]
        return str(status.get("lastHandledReconcileAt", ""))

    def set_decision(self, name: str, decision: str) -> None:
        """Change the decision as `kubectl patch` does."""
        self._patch(name, {"spec": {"decision": decision}})

    def reconcile(self, name: str) -> None:
        """Ask for a check."""
        self._patch(name, {"metadata": {"annotations": {RECONCILE_AT: str(time.time())}}})

    def _patch(self, name: str, body: Json) -> None:
        path = f"{self._path}/{name}"
        self._cluster.http.patch(path, headers=MERGE, json=body).raise_for_status()
