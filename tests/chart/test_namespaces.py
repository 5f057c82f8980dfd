"""With `watchNamespaces` the operator has Roles and nothing that is cluster-wide, and works."""

import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from chart.objects import environment
from chart.programs import CHART, RELEASE, ROOT, Helm, Json
from e2e.live.process import Operator, eventually
from e2e.live.world import World
from envtest import ControlPlane
from otc_simulator.client import Simulator

SYSTEM = "shares-of-teams"
TEAMS = ("team-d", "team-e")
CRDS = ROOT / "deploy/crds"
INSTALL = ROOT / "docs/install.md"
CRD = "imageshareacceptances.ims.otc.dev"
KOPF_LOOKS_S = 4.0
"""Its next run begins a second after the last, finds no such kind, and tells nobody."""
RIGHTS = [
    ("list", "ims.otc.dev", "imageshareacceptances"),
    ("patch", "ims.otc.dev", "imageshareacceptances"),
    ("get", "", "secrets"),
    ("get", "", "namespaces"),
    ("create", "events.k8s.io", "events"),
    ("patch", "events.k8s.io", "events"),
]


@pytest.fixture
def documents(cluster: Helm, control_plane: ControlPlane) -> Iterator[list[Json]]:
    """A release for two namespaces; the CRD is not there."""
    control_plane.kubectl("delete", "--ignore-not-found", "--wait", "-f", str(CRDS))
    for team in TEAMS:
        control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team}})
    values = yaml.safe_dump(
        {
            "image": {"repository": "registry.example.com/isa"},
            "watchNamespaces": list(TEAMS),
            "crds": {"install": False},
            "settings": {"allowInsecureEndpoints": True},
        }
    )
    where = ("--namespace", SYSTEM)
    cluster("install", RELEASE, str(CHART), *where, "--create-namespace", "-f", "-", stdin=values)
    yield list(yaml.safe_load_all(cluster("get", "manifest", RELEASE, *where)))
    cluster("uninstall", RELEASE, *where)
    control_plane.kubectl("delete", "--ignore-not-found", "-f", str(CRDS))


@pytest.fixture
def operator(
    documents: list[Json], control_plane: ControlPlane, tmp_path: Path
) -> Iterator[Operator]:
    kubeconfig = control_plane.service_account_kubeconfig(SYSTEM, RELEASE)
    told = {**environment(documents), "ISA_LEASE_NAMESPACE": SYSTEM}
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
    """Without the right to watch CRDs."""
    eventually(lambda: f"the CRD {CRD} is not installed" in operator.log or None)

    control_plane.apply_crds(CRDS)

    for team in TEAMS:
        serves(control_plane, simulator, operator, team, "web")


@pytest.mark.timeout(120)
def test_crd_that_goes_and_comes_again_is_noticed(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator
) -> None:
    """The watch ends with the CRD, and nobody tells kopf when there is one again."""
    control_plane.apply_crds(CRDS)
    serves(control_plane, simulator, operator, TEAMS[0], "before")
    control_plane.kubectl("delete", "--wait", "-f", str(CRDS))
    eventually(lambda: "the watch broke off" in operator.log or None)
    time.sleep(KOPF_LOOKS_S)

    control_plane.apply_crds(CRDS)

    eventually(lambda: "begins anew" in operator.log or None, within_s=40)
    serves(control_plane, simulator, operator, TEAMS[0], "after")


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
    eventually(lambda: "lacks this right" in operator.log or None)
    assert world.find("held") is not None

    control_plane.kubectl(*freeing_command("held", TEAMS[0]))

    assert world.find("held") is None


def freeing_command(name: str, namespace: str) -> list[str]:
    """What docs/install.md says under "A few namespaces", without the first word."""
    section = INSTALL.read_text().partition("### A few namespaces")[2].partition("\n## ")[0]
    line = next(line for line in section.splitlines() if line.startswith("kubectl patch"))
    return shlex.split(line.replace("NAME", name).replace("my-team", namespace))[1:]


@pytest.mark.usefixtures("documents")
@pytest.mark.parametrize(("verb", "group", "resource"), RIGHTS)
@pytest.mark.parametrize("namespace", [*TEAMS, "default", ""])
def test_rights_end_at_the_watched_namespaces(
    verb: str, group: str, resource: str, namespace: str, control_plane: ControlPlane
) -> None:
    attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
    user = f"system:serviceaccount:{SYSTEM}:{RELEASE}"

    answer = control_plane.http.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        json={"spec": {"user": user, "resourceAttributes": attributes}},
    ).raise_for_status()

    assert answer.json()["status"]["allowed"] is (namespace in TEAMS)
