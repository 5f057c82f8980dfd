"""With `watchNamespaces` the operator works without any cluster-wide right."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart import audit, teams
from chart.crd import CRD, without_crd
from chart.objects import environment
from chart.programs import RELEASE, ROOT, Helm, Json
from chart.teams import SYSTEM, TEAMS
from e2e.live.world import World
from envtest import ControlPlane, Operator, eventually
from otc_simulator.client import Simulator

CRDS = ROOT / "deploy/crds"
INSTALL = ROOT / "docs/install.md"
OPERATOR = audit.account_of(SYSTEM, RELEASE)


@pytest.fixture
def documents(cluster: Helm, control_plane: ControlPlane) -> Iterator[list[Json]]:
    """A release for two namespaces; the CRD is not there."""
    without_crd(control_plane)
    with teams.installed(cluster, control_plane) as made:
        yield made


@pytest.fixture
def operator(
    documents: list[Json], control_plane: ControlPlane, tmp_path: Path
) -> Iterator[Operator]:
    kubeconfig = control_plane.service_account_kubeconfig(SYSTEM, RELEASE)
    told = {**environment(documents), "ISA_LEASE_NAMESPACE": SYSTEM, "ISA_METRICS_PORT": "0"}
    process = Operator(kubeconfig, tmp_path / "log", **told)
    process.start()
    yield process
    process.terminate()  # gives the Lease back


def serves(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator, namespace: str, name: str
) -> None:
    world = World(control_plane, simulator, operator, namespace)
    world.secret()
    world.apply([world.image()], name=name)
    world.wait_for("Accepted", name=name)


def test_crd_that_comes_after_the_operator_is_noticed(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> None:
    """Without the right to watch CRDs, kopf finds the kind when it starts."""
    eventually(lambda: f"the CRD {CRD} is not installed" in operator.log or None)

    control_plane.apply_crds(CRDS)

    for team in TEAMS:
        serves(control_plane, simulator, operator, team, "web")


def test_crd_that_goes_and_comes_again_is_noticed(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> None:
    """When kopf starts it finds no such kind; nothing tells it of a later one."""
    control_plane.apply_crds(CRDS)
    serves(control_plane, simulator, operator, TEAMS[0], "before")
    before = discoveries(control_plane)
    without_crd(control_plane)
    eventually(lambda: "watch ended" in operator.log or None)
    eventually(lambda: discoveries(control_plane) > before or None)

    control_plane.apply_crds(CRDS)

    eventually(lambda: "restarting kopf" in operator.log or None, within_s=120)
    serves(control_plane, simulator, operator, TEAMS[0], "after")


def discoveries(control_plane: ControlPlane) -> int:
    """How often the operator has asked which groups there are."""
    return sum(1 for _ in audit.entries(control_plane, OPERATOR, uri='/apis"'))


def test_namespace_that_is_lost_leaves_the_others_served(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> None:
    """A namespace takes its Role with it when it goes."""
    control_plane.apply_crds(CRDS)
    serves(control_plane, simulator, operator, TEAMS[0], "web")
    control_plane.kubectl("delete", "role,rolebinding", RELEASE, "-n", TEAMS[1])

    operator.terminate()
    operator.start()

    serves(control_plane, simulator, operator, TEAMS[0], "after")


def test_namespace_that_took_the_rights_along_is_freed_as_documented(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> None:
    control_plane.apply_crds(CRDS)
    world = World(control_plane, simulator, operator, TEAMS[0])
    world.secret()
    world.apply([world.image()], name="held", deletionPolicy="Reject")
    world.wait_for("Accepted", name="held")
    control_plane.kubectl("delete", "role,rolebinding", RELEASE, "-n", TEAMS[0])
    world.delete("held")
    eventually(lambda: "lacks this permission" in operator.log or None)
    assert world.find("held") is not None

    control_plane.kubectl(*freeing_command("held", TEAMS[0]))

    assert world.find("held") is None


def freeing_command(name: str, namespace: str) -> list[str]:
    """What docs/install.md says under "A few namespaces", without the first word."""
    section = INSTALL.read_text().partition("### A few namespaces")[2].partition("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith("kubectl patch"))
    return shlex.split(line.replace("NAME", name).replace("my-team", namespace))[1:]
