"""The operator's own ServiceAccount token, as the kubelet puts it into a pod and renews it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from e2e.conftest import DEPLOY
from e2e.live import impatient
from e2e.live.world import World
from envtest import ACCOUNT, SYSTEM, ControlPlane, FreshOperator, install_rights
from otc_simulator.client import Simulator

IN_POD = """
mount -t tmpfs none /var/run
mkdir -p /var/run/secrets/kubernetes.io
ln -s "$0" /var/run/secrets/kubernetes.io/serviceaccount
exec "$@"
"""
PIN = "pin"


class InPod(FreshOperator):
    """Finds its ServiceAccount where pods do: in a mount namespace of its own."""

    def __init__(self, account: Path, control_plane: ControlPlane, log: Path) -> None:
        host = urlsplit(control_plane.url)
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
    operator = InPod(account, own_control_plane, tmp_path / "log")
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
