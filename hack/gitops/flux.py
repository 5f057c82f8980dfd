"""The HelmRelease and the Kustomization of docs/install.md against the controllers of Flux."""

import hashlib
import json
import re
import tarfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from chart.programs import CHART, Helm
from envtest import ROOT
from gitops.setup import (
    PASSWORD,
    WAIT_S,
    Files,
    Resources,
    Setup,
    StepFailedError,
    Team,
    expect,
    step,
    until,
    write,
)
from real_cluster.cloud import SimulatorPod
from real_cluster.cluster import Cluster, Json
from real_cluster.release import CRD, PODS, RELEASE, SELECTOR, SYSTEM, Release, clean

NAMESPACE = "my-team"
"""The namespace in the page."""
SOURCE, SHARES = "my-team", "image-shares"
OPERATOR = "image-share-operator"
HELM_RELEASES = (
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/helmreleases.helm.toolkit.fluxcd.io"
)
HELM_RELEASE = f"/apis/helm.toolkit.fluxcd.io/v2/namespaces/{SYSTEM}/helmreleases/{OPERATOR}"
HELM_CHART = f"/apis/source.toolkit.fluxcd.io/v1/namespaces/{SYSTEM}/helmcharts/{SYSTEM}-{OPERATOR}"
KUSTOMIZATION = (
    f"/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{NAMESPACE}/kustomizations/{SHARES}"
)
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)


def flux(setup: Setup) -> None:
    cluster = setup.cluster
    helm = Helm(setup.directory, cluster.kubeconfig, timeout_s=WAIT_S)
    setup.stack.callback(clean, cluster, helm)
    cluster.create_namespace(SYSTEM, restricted=True)
    cluster.create_namespace(NAMESPACE)
    artifacts = Artifacts(cluster, setup.directory, setup.address)
    setup.stack.callback(artifacts.close)
    release = Release(cluster, helm, setup.image)
    helm_release = HelmRelease(cluster, artifacts, helm, release.values)
    with_helm_controller = bool(cluster.find(HELM_RELEASES))
    if with_helm_controller:
        setup.stack.callback(helm_release.delete)
        helm_release.install()
    else:
        release.apply()
    sim = setup.stack.enter_context(SimulatorPod(cluster, SYSTEM, setup.image))
    release.rollout()
    kustomization = Kustomization(cluster)
    setup.stack.callback(kustomization.delete)
    run = Run(cluster, artifacts, kustomization, Team(sim))
    run.wait_for_share()
    run.edit()
    run.restore()
    run.wrong_password()
    run.prune()
    if with_helm_controller:
        helm_release.upgrade()
        run.edit()
    run.delete()
    if with_helm_controller:
        helm_release.uninstall()


class Artifacts:
    """Stores archives as artifacts of sources, as source-controller does, and serves them."""

    def __init__(self, cluster: Cluster, directory: Path, address: str) -> None:
        self._cluster = cluster
        self.home = directory / "artifacts"
        self.home.mkdir()
        handler = partial(QuietHandler, directory=str(self.home))
        self._server = ThreadingHTTPServer((address, 0), handler)
        self._url = f"http://{address}:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def push(self, files: Files) -> str:
        """Store the files in the directory `shares` of the team's source; return the revision."""
        commit = new_commit()
        write(self.home / commit / "shares", files)
        archive = self.home / f"{commit}.tar.gz"
        with tarfile.open(archive, "w:gz") as file:
            file.add(self.home / commit, ".")
        self.store(("gitrepository", SOURCE, "-n", NAMESPACE), f"main@sha1:{commit}", archive)
        return f"main@sha1:{commit}"

    def store(self, source: Sequence[str], revision: str, archive: Path) -> None:
        """Write the status that source-controller writes.

        Args:
            source: as for kubectl: kind, name and namespace.
            archive: in `home`.
        """
        content = archive.read_bytes()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        read = self._cluster.kubectl("get", *source, "--output=jsonpath={.metadata.generation}")
        stored = {
            "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
            "lastUpdateTime": now,
            "path": archive.name,
            "revision": revision,
            "size": len(content),
            "url": f"{self._url}/{archive.name}",
        }
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "stored",
            "lastTransitionTime": now,
        }
        status = {"artifact": stored, "conditions": [ready], "observedGeneration": int(read)}
        patch = json.dumps({"status": status})
        what = (*source, "--subresource=status")
        self._cluster.kubectl("patch", *what, "--type=merge", f"--patch={patch}")


def new_commit() -> str:
    return hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()[:40]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


class HelmRelease:
    """The HelmRelease of docs/install.md. The chart comes from here, not from source-controller.

    Its namespace and the name of its release are those of the other tests.
    """

    def __init__(
        self, cluster: Cluster, artifacts: Artifacts, helm: Helm, values: Mapping[str, Any]
    ) -> None:
        self._cluster = cluster
        self._artifacts = artifacts
        self._helm = helm
        self._values = values

    def install(self) -> None:
        with step("HelmRelease: the operator is installed, and Ready"):
            source, release = documented(OPERATOR, OPERATOR)
            for row in (source, release):
                row["metadata"]["namespace"] = SYSTEM
            release["spec"] |= {"releaseName": RELEASE, "values": self._values}
            apply(self._cluster, [source, release])
            self._wait(self._push())

    def upgrade(self) -> None:
        with step("HelmRelease: a new commit of the chart is an upgrade"):
            self._wait(self._push())
            expect(self._latest()["version"], 2)

    def uninstall(self) -> None:
        with step("deletion of the HelmRelease: operator deleted, CRD kept"):
            self.delete()
            until(lambda: not self._cluster.items(PODS, labelSelector=SELECTOR))
            expect(self._cluster.find(CRD) is not None, expected=True)

    def delete(self) -> None:
        """Delete it and wait until it has uninstalled its release."""
        self._cluster.http.delete(HELM_RELEASE)
        until(lambda: self._cluster.find(HELM_RELEASE) is None)

    def _push(self) -> str:
        """Store the chart under a version of its own, as with `reconcileStrategy: Revision`."""
        version = f"{chart_version()}+{new_commit()[:12]}"
        home = self._artifacts.home
        self._helm("package", str(CHART), "--version", version, "--destination", str(home))
        source = ("helmchart", f"{SYSTEM}-{OPERATOR}", "-n", SYSTEM)
        until(lambda: self._cluster.find(HELM_CHART) is not None)
        self._artifacts.store(source, version, home / f"{OPERATOR}-{version}.tgz")
        return version

    def _wait(self, version: str) -> None:
        """Wait until it is Ready with this version of the chart.

        Raises:
            StepFailedError: it is not; the message has its conditions.
        """

        def reached() -> bool:
            ready = [row["status"] for row in self._conditions() if row["type"] == "Ready"]
            return ready == ["True"] and self._latest()["chartVersion"] == version

        try:
            until(reached)
        except TimeoutError as exc:
            raise StepFailedError(f"{OPERATOR} is not Ready: {self._conditions()}") from exc

    def _conditions(self) -> list[Json]:
        rows: list[Json] = self._status().get("conditions", [])
        return rows

    def _latest(self) -> Json:
        latest: Json = self._status().get("history", [{"chartVersion": ""}])[0]
        return latest

    def _status(self) -> Json:
        status: Json = self._cluster.get(HELM_RELEASE).get("status", {})
        return status


def chart_version() -> str:
    return str(yaml.safe_load((CHART / "Chart.yaml").read_text())["version"])


def apply(cluster: Cluster, objects: list[Json]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    cluster.kubectl("apply", "--filename=-", stdin=json.dumps(listed))


class Kustomization:
    """The Kustomization, as kustomize-controller reports it."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def ready(self) -> Json:
        """The condition Ready."""
        rows = self._status().get("conditions", [])
        return next((row for row in rows if row["type"] == "Ready"), {"status": "", "reason": ""})

    def wait(self, revision: str) -> None:
        """Wait until it is Ready with this revision.

        Raises:
            StepFailedError: it is not; the message has its condition.
        """

        def reached() -> bool:
            same = self._status().get("lastAppliedRevision") == revision
            return same and self.ready()["status"] == "True"

        try:
            until(reached)
        except TimeoutError as exc:
            raise StepFailedError(f"{SHARES} is not Ready: {self.ready()}") from exc

    def reconcile(self) -> None:
        """Ask for a reconcile, as `flux reconcile kustomization` does."""
        annotation = f"reconcile.fluxcd.io/requestedAt={time.time()}"
        where = ("kustomization", SHARES, "-n", NAMESPACE)
        self._cluster.kubectl("annotate", *where, "--overwrite", annotation)

    def delete(self) -> None:
        """Delete it and wait until it has pruned its objects."""
        self._cluster.http.delete(KUSTOMIZATION)
        until(lambda: self._cluster.find(KUSTOMIZATION) is None)

    def _status(self) -> Json:
        status: Json = (self._cluster.find(KUSTOMIZATION) or {}).get("status", {})
        return status


class Run:
    """The steps, in their order."""

    def __init__(
        self, cluster: Cluster, artifacts: Artifacts, kustomization: Kustomization, team: Team
    ) -> None:
        self._cluster = cluster
        self._artifacts = artifacts
        self._kustomization = kustomization
        self._team = team
        self._resources = Resources(cluster, NAMESPACE)
        self._images = [team.image(shared=False)]
        team.add("first", self._images[0])

    def wait_for_share(self) -> None:
        with step("wait: Ready only after the image is shared and accepted"):
            source, shares = documented(SOURCE, SHARES)
            del shares["spec"]["dependsOn"]  # the operator comes first
            apply(self._cluster, [source, shares])
            revision = self._artifacts.push(self._team.files)
            until(lambda: self._resources.reason("first") == "NotShared")
            expect(self._kustomization.ready()["status"] == "True", expected=False)
            self._team.sim.share(self._images[0], self._team.project)
            self._resources.reconcile("first")
            self._kustomization.wait(revision)
            expect(self._team.membership(self._images[0]), "accepted")

    def edit(self) -> None:
        with step("an edit in Git: Ready after the operator has reconciled it"):
            self._add_image()
            self._kustomization.wait(self._artifacts.push(self._team.files))
            expect(self._team.membership(self._images[-1]), "accepted")

    def restore(self) -> None:
        with step("spec.decision is restored after kubectl patch"):
            self._resources.set_decision("first", "Reject")
            self._kustomization.reconcile()
            until(lambda: self._resources.decision("first") == "Accept")
            until(lambda: self._resources.reason("first") == "Accepted")
            expect(self._team.membership(self._images[0]), "accepted")

    def wrong_password(self) -> None:
        with step("wrong password: HealthCheckFailed long before the timeout; then corrected"):
            self._team.set_password("wrong")
            self._add_image()
            self._artifacts.push(self._team.files)
            until(lambda: self._kustomization.ready()["reason"] == "HealthCheckFailed")
            name = f"ImageShareAcceptance/{NAMESPACE}/first"
            expect(name in self._kustomization.ready()["message"], expected=True)
            self._team.set_password(PASSWORD)
            self._kustomization.wait(self._artifacts.push(self._team.files))

    def prune(self) -> None:
        with step("removed from Git: pruned, and its share is rejected first"):
            rejected = self._team.image()
            self._team.add("rejected-on-delete", rejected, deletionPolicy="Reject")
            self._kustomization.wait(self._artifacts.push(self._team.files))
            self._team.remove("rejected-on-delete")
            self._artifacts.push(self._team.files)
            until(lambda: self._resources.find("rejected-on-delete") is None)
            expect(self._team.membership(rejected), "rejected")

    def delete(self) -> None:
        with step("deletion of the Kustomization: resources deleted, shares stay accepted"):
            self._kustomization.delete()
            until(lambda: self._resources.find("first") is None)
            expect(self._team.membership(self._images[0]), "accepted")

    def _add_image(self) -> None:
        self._images.append(self._team.image())
        self._team.edit("first", images=[*self._images])


def documented(*names: str) -> list[Json]:
    """The objects with these names in docs/install.md; the first one is their source.

    The source is suspended, so that a source-controller leaves its status alone.

    Raises:
        StepFailedError: the page does not have them.
    """
    for block in BLOCK.findall((ROOT / "docs/install.md").read_text()):
        documents: list[Json] = list(yaml.safe_load_all(block))
        if [row.get("metadata", {}).get("name") for row in documents if row] == list(names):
            documents[0]["spec"]["suspend"] = True
            return documents
    raise StepFailedError(f"docs/install.md has no block with the objects {names}")
