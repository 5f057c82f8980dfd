"""From one version of chart, CRD and operator to the next with a thousand live objects."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from chart import audit
from chart.crd import newer_chart, without_crd
from chart.objects import environment
from chart.programs import CHART, RELEASE, Helm, Json
from e2e.live.world import LOGIN, PUT, World
from envtest import ControlPlane, Operator, eventually
from otc_simulator.client import Simulator

NAMESPACE = "upgraded"
OBJECTS = 1000
BY_JOB = 200
"""So many have a job in their status. The images of the rest were accepted before."""
VALUES = yaml.safe_dump(
    {
        "image": {"repository": "registry.example.com/isa"},
        "settings": {"allowInsecureEndpoints": True, "logFormat": "text"},
        "metrics": {"enabled": False},
    }
)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The old version at work: all objects are settled."""

    world: World
    kubeconfig: Path


def operator_of(cluster: Helm, kubeconfig: Path, log: Path) -> Operator:
    """The operator as the release that is installed now tells it."""
    manifest = cluster("get", "manifest", RELEASE, "--namespace", NAMESPACE)
    told = {**environment(list(yaml.safe_load_all(manifest))), "ISA_METRICS_PORT": "0"}
    return Operator(kubeconfig, log, **{**told, "ISA_LEASE_NAMESPACE": NAMESPACE})


@pytest.fixture(scope="module")
def installed(
    cluster: Helm,
    control_plane: ControlPlane,
    simulator: Simulator,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installed]:
    without_crd(control_plane)
    where = ("--namespace", NAMESPACE)
    cluster(
        *("install", RELEASE, str(CHART), *where, "--create-namespace", "--values", "-"),
        stdin=VALUES,
    )
    kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, RELEASE)
    operator = operator_of(cluster, kubeconfig, tmp_path_factory.mktemp("old") / "log")
    operator.start()
    world = World(control_plane, simulator, operator, NAMESPACE)
    world.secret()
    eventually(lambda: control_plane.http.get(world.resources).is_success or None)
    populate(world)
    yield Installed(world=world, kubeconfig=kubeconfig)
    world.operator.terminate()
    world.release("held")
    control_plane.http.delete(world.resources).raise_for_status()
    cluster("uninstall", RELEASE, *where)
    without_crd(control_plane)


def populate(world: World) -> None:
    """Most objects are plain; some are what an upgrade could take for unfinished."""
    odd: dict[str, Json] = {
        "rejected": {"decision": "Reject"},
        "held": {"deletionPolicy": "Reject"},
        "unwatched": {"interval": "0s"},
        "stalled": {"credentialsSecretRef": {"name": "never"}},
    }
    pending = world.sim.add_images(BY_JOB, shared_with=[world.project])
    accepted = world.sim.add_images(
        OBJECTS - BY_JOB, shared_with=[world.project], status="accepted"
    )
    images = iter([*pending, *accepted])
    for name, spec in odd.items():
        world.apply([next(images)], name=name, **spec)
    with ThreadPoolExecutor(8) as pool:
        plain = [(next(images), number) for number in range(OBJECTS - len(odd))]
        list(pool.map(lambda one: world.apply([one[0]], name=f"web-{one[1]}"), plain))
    eventually(lambda: settled(world) or None)
    world.edit("held", suspend=True)
    eventually(lambda: said(world.get("held")).startswith("Suspended") or None)


def listed(world: World) -> list[Json]:
    items: list[Json] = world.control_plane.http.get(world.resources).json()["items"]
    return items


def said(body: Json) -> str:
    """The message of Ready; empty when there is none."""
    rows = body.get("status", {}).get("conditions", ())
    return next((str(row["message"]) for row in rows if row["type"] == "Ready"), "")


def settled(world: World) -> bool:
    rows = [
        next((row for row in body["status"].get("conditions", ()) if row["type"] == "Ready"), None)
        for body in listed(world)
    ]
    reasons = [row and row["reason"] for row in rows]
    return reasons.count("Accepted") == OBJECTS - 2 and "SecretNotFound" in reasons


def versions(world: World) -> dict[str, str]:
    return {body["metadata"]["name"]: body["metadata"]["resourceVersion"] for body in listed(world)}


def writes(control_plane: ControlPlane) -> int:
    """Status writes so far, those that changed nothing too: they leave the version as it is."""
    rows = audit.entries(control_plane, audit.account_of(NAMESPACE, RELEASE))
    return sum(
        row["verb"] == "patch" and row["objectRef"].get("subresource") == "status" for row in rows
    )


def test_upgrade_sends_nothing_again_and_writes_nothing(
    installed: Installed, cluster: Helm, control_plane: ControlPlane, tmp_path: Path
) -> None:
    world, old = installed.world, installed.world.operator
    before, puts, logins = versions(world), world.calls(PUT), world.calls(LOGIN)
    written = writes(control_plane)

    chart = str(newer_chart(tmp_path))
    cluster(
        *("upgrade", RELEASE, chart, "--namespace", NAMESPACE, "--values", "-"),
        stdin=VALUES,
    )
    new = operator_of(cluster, installed.kubeconfig, tmp_path / "new")
    new.start()
    eventually(lambda: "standby: " in new.log or None)
    old.terminate()
    world.operator = new
    eventually(lambda: "became leader as " in new.log or None)
    world.apply([world.image()], name="new")
    world.wait_for("Accepted", name="new")

    after = versions(world)
    del after["new"]
    assert after == before
    assert writes(control_plane) == written + 2
    assert world.calls(PUT) == puts + 1
    assert world.calls(LOGIN) == logins + 1


def test_upgraded_operator_serves_edits_and_goes_back(
    installed: Installed, cluster: Helm, tmp_path: Path
) -> None:
    world = installed.world
    where = ("--namespace", NAMESPACE)
    chart = str(newer_chart(tmp_path))
    cluster("upgrade", RELEASE, chart, *where, "--values", "-", stdin=VALUES)
    world.operator.terminate()
    world.operator = operator_of(cluster, installed.kubeconfig, tmp_path / "new")
    world.operator.start()
    world.edit("web-0", decision="Reject")
    world.wait_for("Rejected", name="web-0")
    before, puts = versions(world), world.calls(PUT)

    cluster("rollback", RELEASE, "1", *where)
    world.operator.terminate()
    world.operator = operator_of(cluster, installed.kubeconfig, tmp_path / "old-again")
    world.operator.start()
    world.edit("web-1", decision="Reject")
    world.wait_for("Rejected", name="web-1")

    del before["web-1"]
    assert {name: version for name, version in versions(world).items() if name != "web-1"} == before
    assert world.calls(PUT) == puts + 1
