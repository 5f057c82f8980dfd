"""Backup and restore, and uninstalling without orphans, in the order that the docs give."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.crd import without_crd
from chart.objects import environment, exists
from chart.programs import CHART, RELEASE, ROOT, Helm, Json
from e2e.live.world import PUT, World
from envtest import ControlPlane, Operator, eventually
from otc_simulator.client import Simulator

NAMESPACE = "farewell"
WHERE = ("--namespace", NAMESPACE)
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}"
RESOURCES = "imageshareacceptances.ims.otc.dev"
VALUES = yaml.safe_dump(
    {
        "image": {"repository": "registry.example.com/isa"},
        "settings": {"allowInsecureEndpoints": True, "logFormat": "text", "secretPollSeconds": 1},
        "metrics": {"enabled": False},
    }
)


@pytest.fixture
def world(
    cluster: Helm, control_plane: ControlPlane, simulator: Simulator, tmp_path: Path
) -> Iterator[World]:
    """The chart is installed, the operator runs, and three resources are settled."""
    without_crd(control_plane)
    operator = installed(cluster, control_plane, tmp_path / "log")
    made = World(control_plane, simulator, operator, NAMESPACE)
    made.secret()
    made.apply([made.image()], name="plain")
    made.apply([made.image()], name="held", deletionPolicy="Reject")
    made.apply([made.image()], name="unwanted", decision="Reject")
    settled(made)
    yield made
    made.operator.terminate()
    if made.find("held") is not None:
        made.release("held")
    if RELEASE in cluster("list", "--short", *WHERE):
        cluster("uninstall", RELEASE, *WHERE)
    without_crd(control_plane)
    control_plane.http.delete(LEASE)


def installed(cluster: Helm, control_plane: ControlPlane, log: Path) -> Operator:
    """`helm install`, and what its Deployment would run."""
    cluster(
        *("install", RELEASE, str(CHART), *WHERE, "--create-namespace", "--values", "-"),
        stdin=VALUES,
    )
    manifest = yaml.safe_load_all(cluster("get", "manifest", RELEASE, *WHERE))
    kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, RELEASE)
    told = {
        **environment(list(manifest)),
        "ISA_LEASE_NAMESPACE": NAMESPACE,
        "ISA_METRICS_PORT": "0",
    }
    operator = Operator(kubeconfig, log, **told)
    operator.start()
    collection = f"/apis/ims.otc.dev/v1alpha1/namespaces/{NAMESPACE}/imageshareacceptances"
    eventually(lambda: control_plane.http.get(collection).is_success or None)
    return operator


def settled(world: World) -> None:
    world.wait_for("Accepted", name="plain")
    world.wait_for("Accepted", name="held")
    world.wait_for("Rejected", name="unwanted")


def backup(control_plane: ControlPlane) -> str:
    """The docs' own pipe."""
    page = (ROOT / "docs/operations.md").read_text()
    program = page.partition("| jq '")[2].partition("'")[0]
    everything = control_plane.kubectl("get", "isa", "-A", "-o", "json")
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("there is no jq")
    call = subprocess.run(
        [jq, program], input=everything, capture_output=True, text=True, check=True
    )
    return call.stdout


def lose_everything(cluster: Helm, control_plane: ControlPlane, world: World) -> None:
    """As a cluster that is gone: nothing is asked of the cloud."""
    world.operator.kill()
    cluster("uninstall", RELEASE, *WHERE)
    world.release("held")
    without_crd(control_plane)
    world.delete_secret()
    control_plane.http.delete(LEASE).raise_for_status()


def test_what_is_restored_is_ready_and_nothing_is_sent_again(
    world: World, cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    saved = backup(control_plane)
    puts = world.calls(PUT)
    assert "ims.otc.dev/reject" in saved
    assert '"status"' not in saved

    lose_everything(cluster, control_plane, world)
    world.operator = installed(cluster, control_plane, tmp_path / "again")
    world.secret()
    control_plane.kubectl("create", "-f", "-", input=saved)

    settled(world)
    assert world.calls(PUT) == puts


def test_resource_that_is_restored_before_its_secret_waits_for_it(
    world: World, cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    saved = backup(control_plane)
    lose_everything(cluster, control_plane, world)
    world.operator = installed(cluster, control_plane, tmp_path / "again")

    control_plane.kubectl("create", "-f", "-", input=saved)
    world.wait_for("SecretNotFound", name="plain")
    world.secret()

    settled(world)


def test_uninstalling_in_order_leaves_nothing_behind(
    world: World, cluster: Helm, control_plane: ControlPlane
) -> None:
    manifest = yaml.safe_load_all(cluster("get", "manifest", RELEASE, *WHERE))
    documents: list[Json] = [row for row in manifest if row]
    image = world.get("held")["spec"]["images"][0]

    control_plane.kubectl("delete", "isa", "-A", "--all", "--timeout=30s")
    world.operator.terminate()
    cluster("uninstall", RELEASE, *WHERE)
    control_plane.kubectl("delete", "crd", RESOURCES)
    control_plane.kubectl("delete", "lease", RELEASE, "-n", NAMESPACE)

    assert world.membership(image) == "rejected"
    assert [row for row in documents if exists(control_plane, row)] == []
    left = json.loads(control_plane.kubectl("get", "clusterrole,clusterrolebinding", "-o", "json"))
    assert [row for row in left["items"] if RELEASE in row["metadata"]["name"]] == []
