"""Where the real scheduler puts the replicas, on nodes that exist only as objects."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chart.objects import pod_of
from chart.programs import Helm, Json
from envtest import ControlPlane, binaries, eventually
from envtest.processes import Server, free_port

LEAST: dict[str, Any] = {"image": {"repository": "registry.example.com/isa"}}
NODES = "/api/v1/nodes"
ZONE = "topology.kubernetes.io/zone"
MERGE = {"Content-Type": "application/merge-patch+json"}
LARGE, SMALL = "64", "4"
"""CPU cores of a node. Without a reason to spread, the scheduler takes the larger node twice."""


@pytest.fixture(scope="module", autouse=True)
def scheduler(
    control_plane: ControlPlane,
    install: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    install("kube-scheduler")
    home = tmp_path_factory.mktemp("scheduler")
    server = Server(
        [
            str(binaries.directory("kube-scheduler") / "kube-scheduler"),
            f"--kubeconfig={control_plane.admin_kubeconfig}",
            "--leader-elect=false",
            "--authentication-skip-lookup",
            "--bind-address=127.0.0.1",
            f"--secure-port={free_port()}",
            f"--cert-dir={home}",
        ],
        directory=home,
        log=home / "kube-scheduler.log",
    )
    yield server
    server.kill()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace for pods; its pods and all nodes are deleted at the end."""
    name = control_plane.create_namespace("spread")
    yield name
    control_plane.http.delete(f"/api/v1/namespaces/{name}/pods", params={"gracePeriodSeconds": 0})
    control_plane.http.delete(NODES)


def add_node(control_plane: ControlPlane, name: str, cores: str, zone: str | None) -> None:
    labels = {"kubernetes.io/hostname": name, **({ZONE: zone} if zone else {})}
    size = {"cpu": cores, "memory": f"{cores}Gi", "pods": "110"}
    status = {
        "capacity": size,
        "allocatable": size,
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    body = {"metadata": {"name": name, "labels": labels}}
    control_plane.http.post(NODES, json=body).raise_for_status()
    control_plane.http.patch(
        f"{NODES}/{name}/status", json={"status": status}, headers=MERGE
    ).raise_for_status()
    control_plane.http.patch(  # the taint of a node that is not ready, which admission adds
        f"{NODES}/{name}", json={"spec": {"taints": None}}, headers=MERGE
    ).raise_for_status()


def place(control_plane: ControlPlane, namespace: str, template: Json, revision: str) -> str:
    """Create one pod of the template, as its ReplicaSet does; return the node that it gets."""
    labels = {**template["metadata"]["labels"], "pod-template-hash": revision}
    body = {
        "metadata": {"generateName": f"{revision}-", "labels": labels},
        "spec": template["spec"],
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = control_plane.http.post(pods, json=body).raise_for_status().json()
    path = f"{pods}/{made['metadata']['name']}"

    def node() -> str | None:
        found: str | None = control_plane.http.get(path).json()["spec"].get("nodeName")
        return found

    return eventually(node)


@pytest.mark.parametrize(
    ("nodes", "values", "expected"),
    [
        ({"large": (LARGE, None), "small": (SMALL, None)}, {}, {"large", "small"}),
        (
            {"a-1": (LARGE, "a"), "a-2": (LARGE, "a"), "b-1": (SMALL, "b")},
            {},
            {"a-1", "b-1"},
        ),
        (
            {"large": (LARGE, None), "small": (SMALL, None)},
            {"affinity": {"podAntiAffinity": {}}},
            {"large"},
        ),
    ],
    ids=["nodes without zones", "zones", "anti-affinity of the user"],
)
def test_scheduler_spreads_the_replicas(
    nodes: dict[str, tuple[str, str | None]],
    values: dict[str, Any],
    expected: set[str],
    helm: Helm,
    control_plane: ControlPlane,
    namespace: str,
) -> None:
    for name, (cores, zone) in nodes.items():
        add_node(control_plane, name, cores, zone)
    template = pod_of(helm.render({**LEAST, **values}))

    chosen = [place(control_plane, namespace, template, "first") for _ in range(2)]

    assert {name.replace("a-2", "a-1") for name in chosen} == expected


def test_scheduler_spreads_the_new_replicas_of_an_upgrade(
    helm: Helm, control_plane: ControlPlane, namespace: str
) -> None:
    for name, cores in (("large", LARGE), ("small", SMALL)):
        add_node(control_plane, name, cores, None)
    template = pod_of(helm.render(LEAST))
    left = {**template, "spec": {**template["spec"], "nodeName": "small"}}
    place(control_plane, namespace, left, "old")

    chosen = [place(control_plane, namespace, template, "new") for _ in range(2)]

    assert set(chosen) == {"large", "small"}
