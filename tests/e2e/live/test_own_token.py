"""The operator's own ServiceAccount token, as the kubelet puts it into a pod and renews it."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from e2e.conftest import DEPLOY
from e2e.live import impatient
from e2e.live.api_faults.proxied import RESOURCES
from e2e.live.impatient import READ_TOKEN_S
from e2e.live.world import World
from envtest import ACCOUNT, SYSTEM, ControlPlane, FreshOperator, eventually, install_rights
from envtest.proxy import FaultyProxy
from otc_simulator.client import Simulator

IN_POD = """
mount -t tmpfs none /var/run
mkdir -p /var/run/secrets/kubernetes.io
ln -s "$0" /var/run/secrets/kubernetes.io/serviceaccount
exec "$@"
"""
PIN = "pin"
MINUTE_S = READ_TOKEN_S
"""A minute of the test below: the operator reads its token once a minute."""
LIFETIME_MIN = 10
"""The shortest lifetime of a token."""
RENEWED_AFTER_MIN = 8
"""The kubelet renews a token after 80 % of its lifetime."""


class InPod(FreshOperator):
    """Finds its ServiceAccount where pods do: in a mount namespace of its own."""

    def __init__(self, account: Path, url: str, log: Path) -> None:
        host = urlsplit(url)
        super().__init__(
            Path("/nonexistent"),
            log,
            program=(impatient.__file__,),
            KUBERNETES_SERVICE_HOST=str(host.hostname),
            KUBERNETES_SERVICE_PORT=str(host.port),
        )
        self._account = account

    def command(self) -> list[str]:
        shell = ["/bin/sh", "-ec", IN_POD, str(self._account)]
        return ["/usr/bin/unshare", "--mount", "--map-root-user", *shell, *super().command()]


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        running.apply_crds(DEPLOY / "crds")
        install_rights(running)
        yield running


@pytest.fixture
def account(own_control_plane: ControlPlane, tmp_path: Path) -> Path:
    """The directory that the kubelet mounts."""
    made = tmp_path / "serviceaccount"
    made.mkdir()
    shutil.copyfile(own_control_plane.ca_file, made / "ca.crt")
    (made / "namespace").write_text(SYSTEM)
    return made


@pytest.fixture
def world(
    own_control_plane: ControlPlane, simulator: Simulator, account: Path, tmp_path: Path
) -> Iterator[World]:
    operator = InPod(account, own_control_plane.url, tmp_path / "log")
    namespace = own_control_plane.create_namespace("pod")
    made = World(own_control_plane, simulator, operator, namespace)
    made.secret()
    yield made
    operator.kill()


def renew(control_plane: ControlPlane, account: Path, *, pinned: bool = False) -> str:
    """Put a new token in place of the old one, as the kubelet does; return it.

    Args:
        pinned: whether the token ends with the Secret `PIN`, as a pod's own ends with the pod.
    """
    secrets = f"/api/v1/namespaces/{SYSTEM}/secrets"
    spec: dict[str, object] = {"expirationSeconds": 3600}
    if pinned:
        body = {"metadata": {"name": PIN}}
        made = control_plane.http.post(secrets, json=body).raise_for_status().json()
        uid = made["metadata"]["uid"]
        pin = {"apiVersion": "v1", "kind": "Secret", "name": PIN, "uid": uid}
        spec["boundObjectRef"] = pin
    url = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{ACCOUNT}/token"
    answer = control_plane.http.post(url, json={"spec": spec}).raise_for_status()
    token = str(answer.json()["status"]["token"])
    fresh = account / "token.new"
    fresh.write_text(token)
    fresh.rename(account / "token")
    return token


def end_pinned_token(control_plane: ControlPlane, token: str) -> None:
    secret = f"/api/v1/namespaces/{SYSTEM}/secrets/{PIN}"
    control_plane.http.delete(secret).raise_for_status()
    control_plane.restart_apiserver()  # it caches valid tokens; and the watch must begin again
    with control_plane.client(token) as old:
        assert old.get("/api").status_code == httpx.codes.UNAUTHORIZED


def test_token_that_the_kubelet_renewed_is_read_again(world: World, account: Path) -> None:
    """By both clients: the watch notices the new object, the other writes its status."""
    first = renew(world.control_plane, account, pinned=True)
    world.operator.start()
    world.accept()

    renew(world.control_plane, account)
    end_pinned_token(world.control_plane, first)
    world.apply([world.image()], name="later")

    world.wait_for("Accepted", name="later")
    assert "Traceback" not in world.operator.log


@pytest.fixture
def faulty(own_control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    directory = own_control_plane.directory
    certificate = directory / "server.crt", directory / "server.key"
    with FaultyProxy(
        own_control_plane.url, ca_file=own_control_plane.ca_file, certificate=certificate
    ) as running:
        yield running


def test_tokens_of_ten_minutes_are_read_in_time_for_an_hour(
    world: World, faulty: FaultyProxy, account: Path, tmp_path: Path
) -> None:
    """A minute takes 0.25 s. Each watch ends after 15 min, and its next one needs a valid token."""
    world.operator = InPod(account, faulty.url, tmp_path / "hour")
    tokens = [renew(world.control_plane, account)]
    try:
        world.operator.start()
        eventually(lambda: faulty.open_watches(RESOURCES) or None)
        live_for_an_hour(world, faulty, account, tokens)
    finally:
        world.operator.kill()

    refused = [call for call in faulty.calls() if call.spoiled]
    assert len(tokens) == 1 + 60 // RENEWED_AFTER_MIN
    assert {call.verb for call in refused} == {"watch"}
    assert len(refused) <= 2 * (60 // 15)  # of resources and of CRDs
    assert "watch ended" not in world.operator.log
    assert "Traceback" not in world.operator.log


def live_for_an_hour(world: World, faulty: FaultyProxy, account: Path, tokens: list[str]) -> None:
    """Renew and expire tokens, end watches, and create a resource every five minutes."""
    began = time.monotonic()
    for minute in range(1, 61):
        time.sleep(max(began + minute * MINUTE_S - time.monotonic(), 0))
        if minute % RENEWED_AFTER_MIN == 0:
            tokens.append(renew(world.control_plane, account))
        if minute % RENEWED_AFTER_MIN == LIFETIME_MIN - RENEWED_AFTER_MIN and len(tokens) > 1:
            faulty.expire(tokens[-2])
        if minute % 15 == 0:
            faulty.end_watches()
        if minute % 5 == 0:
            world.apply([world.image()], name=f"minute-{minute}")
    for minute in range(5, 61, 5):
        world.wait_for("Accepted", name=f"minute-{minute}")
