"""The chart as a release in the cluster, and the replicas that run."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import yaml

from chart.programs import CHART, Helm, HelmError
from envtest import eventually
from real_cluster.cluster import LABEL, Cluster, Json

SYSTEM = "image-share-cluster-test"
RELEASE = "cluster-test"
NAME = f"{RELEASE}-image-share-operator"
SELECTOR = f"app.kubernetes.io/name=image-share-operator,app.kubernetes.io/instance={RELEASE}"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/imageshareacceptances.ims.otc.dev"
PODS = f"/api/v1/namespaces/{SYSTEM}/pods"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/{NAME}"
METRICS_PORT = 8080
ROLLOUT = "300s"
TAKEOVER_S = 60.0
POLL_S = 0.05

KILL = """
import os, signal
for name in os.listdir("/proc"):
    if name.isdigit() and open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[1] == "1":
        os.kill(int(name), signal.SIGKILL)
"""
"""Kills the children of PID 1: the operator. A process cannot kill the PID 1 of its container."""


class Release:
    """One release of the chart; `install` and `upgrade` wait for its replicas."""

    def __init__(self, cluster: Cluster, helm: Helm, image: str) -> None:
        self.cluster = cluster
        self._helm = helm
        self.values: dict[str, Any] = {
            "image": image_values(image),
            "settings": {"allowInsecureEndpoints": True, "secretPollSeconds": 2},
        }

    def helm(self, *words: str, **changes: Any) -> str:
        """Run a helm command that takes values."""
        values = yaml.safe_dump({**self.values, **changes})
        return self._helm(*words, "--namespace", SYSTEM, "--values", "-", stdin=values)

    def apply(self) -> None:
        """Install the chart; do not wait for the replicas."""
        self.helm("install", RELEASE, str(CHART))

    def install(self) -> None:
        self.apply()
        self.rollout()

    def upgrade(self, **changes: Any) -> None:
        self.helm("upgrade", RELEASE, str(CHART), **changes)
        self.rollout()

    def rollback(self) -> None:
        self._helm("rollback", RELEASE, "--namespace", SYSTEM)
        self.rollout()

    def uninstall(self) -> None:
        """Uninstall the release and wait until its pods are deleted."""
        self._helm("uninstall", RELEASE, "--namespace", SYSTEM)
        eventually(lambda: True if not self.pods() else None)

    def test(self) -> str:
        return self._helm("test", RELEASE, "--namespace", SYSTEM)

    def rollout(self) -> None:
        """Wait until all replicas are ready and old ones are deleted."""
        where = ("--namespace", SYSTEM, f"--timeout={ROLLOUT}")
        self.cluster.kubectl("rollout", "status", f"deployment/{NAME}", *where, timeout_s=400)
        eventually(lambda: True if len(self.pods()) == self.replicas() else None)

    def replicas(self) -> int:
        path = f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{NAME}"
        return int(self.cluster.get(path)["spec"]["replicas"])

    def pods(self) -> dict[str, Json]:
        """The pods of the replicas by their names."""
        rows = self.cluster.items(PODS, labelSelector=SELECTOR)
        return {row["metadata"]["name"]: row for row in rows}

    def metrics(self, pod: str) -> dict[str, float]:
        """The samples of a replica by name and labels."""
        answer = self.cluster.http.get(f"{PODS}/{pod}:{METRICS_PORT}/proxy/metrics")
        lines = answer.raise_for_status().text.splitlines()
        rows = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in rows}

    def holder(self) -> str:
        """The identity in the Lease; empty if no replica leads."""
        lease = self.cluster.find(LEASE)
        return (lease or {"spec": {}})["spec"].get("holderIdentity") or ""

    def leader(self) -> str:
        """The name of the pod that leads; waits for one."""
        return eventually(lambda: self.holder() or None).rpartition("_")[0]

    def takeover(self, lose: Callable[[str], object]) -> float:
        """Lose the leader's pod; return the seconds until another process leads."""
        before = eventually(lambda: self.holder() or None)
        began = time.monotonic()
        lose(before.rpartition("_")[0])
        while self.holder() in ("", before):
            if time.monotonic() - began > TAKEOVER_S:
                raise TimeoutError(f"no other leader within {TAKEOVER_S:g} s")
            time.sleep(POLL_S)
        return time.monotonic() - began

    def delete_pod(self, pod: str) -> None:
        """Delete a pod, which gets SIGTERM; do not wait."""
        self.cluster.http.delete(f"{PODS}/{pod}").raise_for_status()

    def kill(self, pod: str) -> None:
        """Send SIGKILL to the operator in a pod."""
        self.cluster.kubectl("exec", pod, "--namespace", SYSTEM, "--", "python", "-c", KILL)

    def logs(self) -> str:
        """All log lines of all replicas that exist."""
        where = ("--namespace", SYSTEM, "--selector", SELECTOR)
        return self.cluster.kubectl("logs", *where, "--tail=-1", "--prefix=false")

    def tail(self) -> str:
        """What helps after a failure: pods, Events, and the ends of the logs."""
        where = ("--namespace", SYSTEM)
        return "\n".join(
            [
                self.cluster.kubectl("get", "pods", *where, "--output=wide"),
                self.cluster.kubectl("get", "events", *where, "--sort-by=.lastTimestamp"),
                *self.logs().splitlines()[-60:],
            ]
        )


def image_values(image: str) -> dict[str, str]:
    """Return the values of the chart for ``REPOSITORY:TAG`` or ``REPOSITORY@DIGEST``."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return {"repository": repository, "digest": digest}
    repository, colon, tag = image.rpartition(":")
    if not colon or "/" in tag:  # the colon is that of a port
        raise ValueError(f"IMAGE={image!r}: expected REPOSITORY:TAG or REPOSITORY@DIGEST")
    return {"repository": repository, "tag": tag}


def clean(cluster: Cluster, helm: Helm) -> None:
    """Remove what a run created, also one that was killed; needs only names and labels."""
    for namespace in cluster.namespaces():
        _delete_resources(cluster, namespace)
    for node in cluster.items("/api/v1/nodes"):
        if LABEL in node["metadata"].get("annotations", {}):
            uncordon(cluster, node["metadata"]["name"])
    with suppress(HelmError):  # an installation that was killed; its objects are deleted below
        helm("uninstall", RELEASE, "--namespace", SYSTEM, "--ignore-not-found")
    kinds = "clusterroles,clusterrolebindings"
    cluster.kubectl("delete", kinds, "--selector", f"app.kubernetes.io/instance={RELEASE}")
    if is_ours(cluster):
        cluster.http.delete(CRD).raise_for_status()
        eventually(lambda: True if cluster.find(CRD) is None else None)
    for namespace in cluster.namespaces():
        cluster.http.delete(f"/api/v1/namespaces/{namespace}")
    eventually(lambda: True if not cluster.namespaces() else None)


def _delete_resources(cluster: Cluster, namespace: str) -> None:
    """Delete the resources; without an operator, remove their finalizers."""
    resources = f"/apis/ims.otc.dev/v1alpha1/namespaces/{namespace}/imageshareacceptances"
    if not cluster.http.delete(resources).is_success:  # there is no CRD
        return
    try:
        eventually(lambda: True if not cluster.items(resources) else None, within_s=20)
    except TimeoutError:
        for row in cluster.items(resources):
            cluster.http.patch(
                f"{resources}/{row['metadata']['name']}",
                headers={"Content-Type": "application/merge-patch+json"},
                json={"metadata": {"finalizers": None}},
            )


def is_ours(cluster: Cluster) -> bool:
    """Whether the CRD exists and belongs to the release of these tests."""
    crd = cluster.find(CRD) or {"metadata": {}}
    owner = crd["metadata"].get("annotations", {}).get("meta.helm.sh/release-namespace")
    return bool(owner == SYSTEM)


def cordon(cluster: Cluster, node: str) -> None:
    """Cordon a node, and mark it, so that `clean` finds it."""
    cluster.kubectl("annotate", "node", node, f"{LABEL}=cordoned")
    cluster.kubectl("cordon", node)


def uncordon(cluster: Cluster, node: str) -> None:
    cluster.kubectl("uncordon", node)
    cluster.kubectl("annotate", "node", node, f"{LABEL}-")
