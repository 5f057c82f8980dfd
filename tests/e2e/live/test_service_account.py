"""No stored secret: tokens of ServiceAccounts are exchanged at IAM of a region.

The operator reaches the hosts of the region through a proxy, which leads to the simulated cloud.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from e2e.live.world import JOB_S, LOGIN, Operator, World
from envtest import ACCOUNT, SYSTEM, ControlPlane
from otc_simulator.client import Simulator, tls_arguments
from tools.release_host import proxying

PROVIDER, AUDIENCE = "my-cluster", "image-shares.example.com"
EXCHANGE = "POST /v3.0/OS-AUTH/id-token/tokens"
HOSTS = ("iam.eu-de.otc.t-systems.com", "ims.eu-de.otc.t-systems.com")
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ALLOWED = "request-tokens"
DENIED = (
    "ServiceAccount web: the API server denies its tokens: create serviceaccounts/token in "
    "namespace {}: HTTP 403: the operator's ServiceAccount lacks this permission; grant it as the "
    "chart does with rbac.serviceAccountTokens=true; or use spec.credentialsSecretRef"
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def simulator(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Simulator]:
    """The cloud of the region, behind TLS."""
    arguments = tls_arguments(authority, tmp_path_factory.mktemp("tls"), *HOSTS)
    with Simulator("--job-seconds", str(JOB_S), *arguments) as running:
        yield running


@pytest.fixture(scope="module")
def operator(
    kubeconfig: Path,
    simulator: Simulator,
    authority: trustme.CA,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operator]:
    """An operator that takes the simulated cloud for the region."""
    scratch = tmp_path_factory.mktemp("operator")
    authority.cert_pem.write_to_path(scratch / "ca.crt")
    url = httpx.URL(simulator.url)
    with proxying((url.host, url.port or 0)) as (proxy, _):
        env = {"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(scratch / "ca.crt")}
        process = Operator(kubeconfig, scratch / "log", **env)
        process.start()
        yield process
        process.terminate()


@pytest.fixture
def allowed(control_plane: ControlPlane) -> Iterator[None]:
    """The permission that the chart grants with rbac.serviceAccountTokens."""
    allow(control_plane)
    yield
    forbid(control_plane)


def allow(control_plane: ControlPlane) -> None:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ALLOWED}
    rules = [{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}]
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    head: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": ALLOWED},
    }
    control_plane.apply(
        [
            {**head, "kind": "ClusterRole", "rules": rules},
            {**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        ]
    )


def forbid(control_plane: ControlPlane) -> None:
    control_plane.http.delete(f"{RBAC}/clusterrolebindings/{ALLOWED}").raise_for_status()


def add_account(world: World, name: str = "web") -> None:
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"
    world.control_plane.http.post(path, json={"metadata": {"name": name}}).raise_for_status()


def upload(world: World, keys: dict[str, Any] | None = None, **rights: Any) -> None:
    """Do what the setup guide says, with the keys of the API server."""
    jwks = json.loads(world.control_plane.kubectl("get", "--raw", "/openid/v1/jwks"))
    world.sim.add_identity_provider(
        PROVIDER,
        issuer="https://kubernetes.default.svc",
        audience=AUDIENCE,
        jwks=keys or jwks,
        mappings={f"system:serviceaccount:{world.namespace}:web": rights},
    )


def apply(world: World, **changes: Any) -> str:
    """Apply a resource for a new image; return the image."""
    image = world.image()
    account = {"name": "web", "identityProvider": PROVIDER, "audience": AUDIENCE}
    fields: dict[str, Any] = {"credentialsSecretRef": None, "endpoints": None, "region": "eu-de"}
    world.apply([image], **fields, serviceAccount=account, **changes)
    return image


def assert_no_token_is_shown(world: World) -> None:
    """Each JSON Web Token begins with the same letters; the log is at level debug."""
    events = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    shown = [world.control_plane.http.get(path).text for path in (events, world.resources)]

    assert [text for text in (world.operator.log, *shown) if "eyJ" in text] == []


@pytest.mark.usefixtures("allowed")
def test_shares_are_accepted_without_a_stored_secret(world: World) -> None:
    world.delete_secret()
    add_account(world)
    upload(world)

    image = apply(world)
    world.wait_for("Accepted")

    assert world.membership(image) == "accepted"
    assert world.status()["actingAs"] == f"ServiceAccount web by identity provider {PROVIDER}"
    assert world.calls(EXCHANGE) == 1
    assert world.calls(LOGIN) == 0
    assert_no_token_is_shown(world)


@pytest.mark.usefixtures("allowed")
def test_agency_is_assumed_without_a_stored_secret(world: World) -> None:
    add_account(world)
    upload(world, agent_operator=True)
    account = f"team-{world.namespace}"
    world.project = world.sim.add_project("eu-de_team", domain=account)
    world.sim.add_agency("image-sharing", account)

    apply(world, agency={"name": "image-sharing", "domainName": account})
    world.wait_for("Accepted")

    assert world.status()["actingAs"] == f"agency image-sharing of account {account}"


def test_missing_permission_is_reported_and_used_when_granted(
    world: World, control_plane: ControlPlane
) -> None:
    add_account(world)
    upload(world)
    apply(world)

    ready = world.wait_for("CredentialsInvalid")

    assert ready["message"] == DENIED.format(world.namespace)
    assert world.calls(EXCHANGE) == 0
    assert "Traceback" not in world.operator.log
    allow(control_plane)
    try:
        world.wait_for("Accepted")
    finally:
        forbid(control_plane)


@pytest.mark.usefixtures("allowed")
def test_missing_service_account_is_reported_and_used_when_it_exists(world: World) -> None:
    upload(world)
    apply(world)
    ready = world.wait_for("CredentialsInvalid")

    assert f"ServiceAccount web: not found in namespace {world.namespace}" in ready["message"]
    assert world.status()["secretVersion"] == ""
    add_account(world)
    world.wait_for("Accepted")


@pytest.mark.usefixtures("allowed")
def test_unknown_key_of_the_cluster_is_named(world: World) -> None:
    add_account(world)
    jwks = json.loads(world.control_plane.kubectl("get", "--raw", "/openid/v1/jwks"))
    key_id = jwks["keys"][0]["kid"]
    other = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    upload(world, {"keys": [{**other, "kid": key_id}]})

    apply(world)
    ready = world.wait_for("CredentialsInvalid")

    assert f"token key ID {key_id} is not known to the identity provider" in ready["message"]
    assert "kubectl get --raw /openid/v1/jwks" in ready["message"]
    assert "The operator does not use these credentials before" in ready["message"]
    assert_no_token_is_shown(world)


@pytest.mark.usefixtures("allowed")
def test_unmapped_service_account_is_denied(world: World) -> None:
    add_account(world)
    upload(world)
    world.sim.add_identity_provider(
        PROVIDER,
        issuer="https://kubernetes.default.svc",
        audience=AUDIENCE,
        jwks=json.loads(world.control_plane.kubectl("get", "--raw", "/openid/v1/jwks")),
        mappings={"system:serviceaccount:other:web": {}},
    )

    apply(world)

    assert "correct the mapping" in world.wait_for("PermissionDenied")["message"]


@pytest.mark.usefixtures("allowed")
def test_deletion_of_the_namespace_ends_without_the_service_account(
    world: World, control_plane: ControlPlane
) -> None:
    """No token is issued any more in a namespace that is being deleted."""
    upload(world)
    apply(world, deletionPolicy="Reject")
    world.wait_for("CredentialsInvalid")
    namespace = f"/api/v1/namespaces/{world.namespace}"
    control_plane.http.delete(namespace).raise_for_status()
    done = threading.Event()

    world.delete()

    for _ in range(300):
        if world.find() is None:
            return
        done.wait(0.1)
    raise AssertionError(world.status())
