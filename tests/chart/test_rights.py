"""The operator has the rights that it uses, and no others: the API server's audit log tells."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from chart import audit
from chart.objects import environment
from chart.programs import CHART, RELEASE, ROOT, Helm, Json
from chart.rights import Right, granted, resource_name, rights
from e2e.live.test_lifecycle import RECONCILE_AT, is_gone
from e2e.live.world import PUT, World
from envtest import ControlPlane, Operator, eventually
from otc_simulator.client import Simulator

CRDS = ROOT / "deploy/crds"
RESOURCES = "imageshareacceptances.ims.otc.dev"
EVERYBODY = ("system:basic-user", "system:discovery", "system:public-info-viewer")
"""ClusterRoles that every ServiceAccount has in every cluster."""


@dataclass(frozen=True, kw_only=True)
class Mode:
    """A way to install.

    Attributes:
        release: also the name of the system's namespace and of the ServiceAccount.
        watches_namespaces: whether the operator serves three namespaces only, not all.
        tokens: whether it may request tokens of ServiceAccounts.
    """

    release: str
    watches_namespaces: bool
    tokens: bool = False


CLUSTER_WIDE = Mode(release="cluster-wide", watches_namespaces=False)
NAMESPACES = Mode(
    release="by-namespace",
    watches_namespaces=True,
    tokens=True,
)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The chart as Helm installed it, and the operator that runs as its ServiceAccount."""

    mode: Mode
    operator: Operator
    kubeconfig: Path
    documents: list[Json]
    namespaces: tuple[str, str, str]


@pytest.fixture(scope="module", params=[CLUSTER_WIDE, NAMESPACES], ids=lambda mode: mode.release)
def installed(
    request: pytest.FixtureRequest,
    cluster: Helm,
    control_plane: ControlPlane,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installed]:
    mode: Mode = request.param
    release = mode.release
    # New names each time: `used` deletes one, and no controller ends the deletion here.
    first, second, third = [control_plane.create_namespace("team") for _ in range(3)]
    values = yaml.safe_dump(
        {
            "image": {"repository": "registry.example.com/isa"},
            "fullnameOverride": release,
            "watchNamespaces": [first, second, third] if mode.watches_namespaces else [],
            "rbac": {"serviceAccountTokens": mode.tokens},
            "settings": {"allowInsecureEndpoints": True, "secretPollSeconds": 2},
        }
    )
    where = ("--namespace", release, "--create-namespace", "--values", "-")
    cluster("install", RELEASE, str(CHART), *where, stdin=values)
    control_plane.apply_crds(CRDS)  # waits until it is served
    documents = list(
        yaml.safe_load_all(cluster("get", "manifest", RELEASE, "--namespace", release))
    )
    kubeconfig = control_plane.service_account_kubeconfig(release, release)
    told = {
        **environment(documents),
        "ISA_LEASE_NAMESPACE": release,
        "ISA_LOG_LEVEL": "debug",
        "ISA_METRICS_PORT": "0",
    }
    operator = Operator(kubeconfig, tmp_path_factory.mktemp(release) / "log", **told)
    operator.start()
    yield Installed(
        mode=mode,
        operator=operator,
        kubeconfig=kubeconfig,
        documents=documents,
        namespaces=(first, second, third),
    )
    operator.terminate()
    cluster("uninstall", RELEASE, "--namespace", release)
    control_plane.kubectl("delete", "--ignore-not-found", "-f", str(CRDS))


@pytest.fixture(scope="module")
def world(control_plane: ControlPlane, simulator: Simulator, installed: Installed) -> World:
    made = World(control_plane, simulator, installed.operator, installed.namespaces[0])
    made.secret()
    return made


@pytest.fixture(scope="module")
def used(
    world: World, control_plane: ControlPlane, simulator: Simulator, installed: Installed
) -> dict[str, set[Right]]:
    """What the operator used and was refused, after a life with all that can happen."""
    accept_and_drift(world)
    reject_and_delete(world)
    if installed.mode.tokens:
        request_a_token(world)
    for namespace in installed.namespaces[1:2]:
        delete_the_namespace(World(control_plane, simulator, installed.operator, namespace))
    account = audit.account_of(installed.mode.release, installed.mode.release)
    installed.operator.terminate()
    return by_decision(control_plane, account)


def accept_and_drift(world: World) -> None:
    image = world.image()
    world.apply([image], name="kept")
    world.wait_for("Accepted", name="kept")
    world.sim.set_membership(image, world.project, "rejected")
    world.annotate("kept", **{RECONCILE_AT: "1"})
    eventually(lambda: world.calls(PUT) >= 2 or None)
    world.wait_for("Accepted", name="kept")
    eventually(lambda: "DriftDetected" in world.events("kept") or None)


def request_a_token(world: World) -> None:
    """IAM of the region can't be reached from here: the token is requested before that."""
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"
    world.control_plane.http.post(path, json={"metadata": {"name": "web"}}).raise_for_status()
    account = {"name": "web", "identityProvider": "my-cluster", "audience": "otc"}
    world.apply(
        [world.image()],
        name="federated",
        credentialsSecretRef=None,
        endpoints=None,
        region="eu-de",
        serviceAccount=account,
    )
    world.wait_for("CloudUnavailable", name="federated")


def reject_and_delete(world: World) -> None:
    world.apply([world.image()], name="unwanted", decision="Reject")
    world.wait_for("Rejected", name="unwanted")
    image = world.image()
    world.apply([image], name="held", deletionPolicy="Reject")
    world.wait_for("Accepted", name="held")
    world.delete("held")
    eventually(lambda: is_gone(world, "held"))
    assert world.membership(image) == "rejected"


def delete_the_namespace(world: World) -> None:
    world.apply([world.image()], deletionPolicy="Reject", credentialsSecretRef={"name": "never"})
    world.wait_for("SecretNotFound")
    world.control_plane.http.delete(f"/api/v1/namespaces/{world.namespace}").raise_for_status()
    world.delete()
    eventually(lambda: is_gone(world))


def by_decision(control_plane: ControlPlane, account: str) -> dict[str, set[Right]]:
    """What the account asked for, sorted by ``allow`` and ``forbid``."""
    found: dict[str, set[Right]] = {"allow": set(), "forbid": set()}
    for entry in audit.entries(control_plane, account):
        if "resource" not in entry.get("objectRef", {}):
            continue
        decision = entry["annotations"]["authorization.k8s.io/decision"]
        found[decision].add((entry["verb"], resource_name(entry["objectRef"])))
    return found


def everybodys(control_plane: ControlPlane) -> set[Right]:
    """What the API server gives to all who log in."""
    roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
    found = [control_plane.http.get(f"{roles}/{name}") for name in EVERYBODY]
    return {right for answer in found for right in rights(answer.raise_for_status().json())}


def test_no_other_lease_can_be_read_or_taken(
    installed: Installed, used: dict[str, set[Right]]
) -> None:
    """``create`` can't be narrowed: what is not there yet has no name."""
    role = next(row for row in installed.documents if row["metadata"]["name"].endswith("election"))

    named = [rule.get("resourceNames") for rule in role["rules"] if rule["verbs"] != ["create"]]

    assert named == [[installed.mode.release]]
    assert ("update", "leases.coordination.k8s.io") in used["allow"]


def test_nothing_is_granted_that_is_not_used(
    installed: Installed, used: dict[str, set[Right]]
) -> None:
    assert granted(installed.documents) - used["allow"] == set()


def test_nothing_is_used_that_is_not_granted(
    installed: Installed, used: dict[str, set[Right]], control_plane: ControlPlane
) -> None:
    assert used["allow"] - granted(installed.documents) <= everybodys(control_plane)


def test_nothing_is_tried_that_is_refused(used: dict[str, set[Right]]) -> None:
    assert used["forbid"] == set()


def test_secrets_are_read_by_name_alone(used: dict[str, set[Right]]) -> None:
    verbs = {verb for verb, resource in used["allow"] if resource == "secrets"}

    assert verbs == {"get"}
