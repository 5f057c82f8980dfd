"""Another operator of kopf in the cluster, whose peering has kopf's default name."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from e2e.live.world import World
from envtest import ControlPlane, Operator

GROUP = "kopf.dev"
PLURAL = "clusterkopfpeerings"
PEERING = f"/apis/{GROUP}/v1/{PLURAL}/default"
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Cluster",
        "names": {"plural": PLURAL, "singular": "clusterkopfpeering", "kind": "ClusterKopfPeering"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "status": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                    }
                },
            }
        ],
    },
}
"""As of kopf's peering.yaml."""


AUTHENTICATED = "system:authenticated"
RBAC = "rbac.authorization.k8s.io"
Manifest = dict[str, Any]


def rights() -> list[Manifest]:
    """What kopf needs for peering: without these rights it could not even read the peer."""
    common: Manifest = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": "peering"}}
    rule = {"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["*"]}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "peering"}
    everyone = {"apiGroup": RBAC, "kind": "Group", "name": AUTHENTICATED}
    return [
        {**common, "kind": "ClusterRole", "rules": [rule]},
        {**common, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [everyone]},
    ]


def living_peer() -> Manifest:
    """An object with one peer, whose priority is higher than kopf's default of 0."""
    lastseen = datetime.now(UTC).isoformat()
    peer: Manifest = {"priority": 1_000, "lifetime": 3_600, "lastseen": lastseen, "namespace": None}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterKopfPeering",
        "metadata": {"name": "default"},
        "status": {"other@host": peer},
    }


@pytest.fixture(scope="module")
def peering(control_plane: ControlPlane) -> Iterator[Manifest]:
    """The peering as another operator of kopf keeps it."""
    control_plane.apply([CRD, *rights()])
    control_plane.kubectl("wait", "--for=condition=Established", f"crd/{PLURAL}.{GROUP}")
    control_plane.apply(living_peer())
    yield control_plane.http.get(PEERING).raise_for_status().json()
    control_plane.kubectl("delete", "--wait", f"crd/{PLURAL}.{GROUP}")
    control_plane.kubectl("delete", "clusterrole,clusterrolebinding", "peering")


@pytest.fixture
def operator(peering: Manifest, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator that starts while the peer lives."""
    assert peering["status"]
    process = Operator(kubeconfig, tmp_path / "log")
    process.start()
    yield process
    process.kill()


def test_foreign_peer_does_not_pause_the_operator(peering: Manifest, world: World) -> None:
    world.accept()

    now = world.control_plane.http.get(PEERING).raise_for_status().json()
    assert now["status"] == peering["status"]
    assert "watch ended" not in world.operator.log
