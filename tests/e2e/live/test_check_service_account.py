"""`check --request-token`: the login with a token of a ServiceAccount, as a user tests it.

The command reaches the hosts of the region through a proxy, which leads to the simulated cloud. No
operator runs.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
import yaml

from cli.command import Ended, run_process
from e2e.conftest import Json
from e2e.live.test_service_account import AUDIENCE, EXCHANGE, PROVIDER, authority, simulator
from envtest import ControlPlane
from otc_simulator.client import Simulator
from tools.release_host import proxying

__all__ = ["authority", "simulator"]

Check = Callable[..., Ended]


@pytest.fixture
def check(simulator: Simulator, authority: trustme.CA, tmp_path: Path) -> Iterator[Check]:
    """Run the command on the file of a test, with the cloud of the region behind a proxy."""
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    url = httpx.URL(simulator.url)
    with proxying((url.host, url.port or 0)) as (proxy, _):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HTTPS_PROXY": proxy,
            "SSL_CERT_FILE": str(tmp_path / "ca.crt"),
        }

        def run(*words: object, **env: str) -> Ended:
            options = [str(word) for word in words]
            return run_process(
                "check", "web.yaml", *options, cwd=tmp_path, env={**environment, **env}
            )

        yield run


@pytest.fixture
def image(control_plane: ControlPlane, simulator: Simulator, namespace: str, tmp_path: Path) -> str:
    """A pending image; a ServiceAccount that IAM knows; a file with a resource for them."""
    account = {"metadata": {"name": "web"}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.http.post(path, json=account).raise_for_status()
    upload(
        simulator, json.loads(control_plane.kubectl("get", "--raw", "/openid/v1/jwks")), namespace
    )
    project = simulator.add_project(f"eu-de_{namespace}")
    image = simulator.add_image(shared_with=[project])
    resource = {
        "apiVersion": "ims.otc.dev/v1alpha1",
        "kind": "ImageShareAcceptance",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "region": "eu-de",
            "projectID": project,
            "images": [image],
            "serviceAccount": {
                "name": "web",
                "identityProvider": PROVIDER,
                "audience": AUDIENCE,
            },
        },
    }
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(resource))
    return image


def upload(simulator: Simulator, jwks: Json, namespace: str) -> None:
    simulator.add_identity_provider(
        PROVIDER,
        issuer="https://kubernetes.default.svc",
        audience=AUDIENCE,
        jwks=jwks,
        mappings={f"system:serviceaccount:{namespace}:web": {}},
    )


def test_check_logs_in_with_a_token_that_it_requests(
    control_plane: ControlPlane, simulator: Simulator, image: str, check: Check
) -> None:
    before = simulator.calls(EXCHANGE)

    ended = check("--request-token", KUBECONFIG=str(control_plane.admin_kubeconfig))

    assert ended.code == 0, ended
    assert "  login        ok\n" in ended.out
    assert f"{image}  pending" in ended.out
    assert simulator.calls(EXCHANGE) - before == 1


def test_namespace_of_the_context_is_used_as_in_kubectl(
    control_plane: ControlPlane, image: str, check: Check, tmp_path: Path, namespace: str
) -> None:
    del image
    resource = yaml.safe_load((tmp_path / "web.yaml").read_text())
    del resource["metadata"]["namespace"]
    (tmp_path / "web.yaml").write_text(yaml.safe_dump(resource))
    config = yaml.safe_load(control_plane.admin_kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = namespace
    (tmp_path / "own.kubeconfig").write_text(yaml.safe_dump(config))

    ended = check("--kubeconfig", tmp_path / "own.kubeconfig")

    assert ended.code == 0, ended
    assert f"{namespace}/web (web.yaml)" in ended.out


def test_check_says_which_permission_the_user_lacks(
    control_plane: ControlPlane, simulator: Simulator, image: str, check: Check, namespace: str
) -> None:
    del image
    before = simulator.calls(EXCHANGE)
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "no-rights")

    ended = check("--kubeconfig", kubeconfig)

    assert ended.code == 1
    assert "  login        failed\n" in ended.out
    assert (
        "ServiceAccount web: the user of the kubeconfig lacks the permission create "
        f"serviceaccounts/token in namespace {namespace}"
    ) in ended.out
    assert simulator.calls(EXCHANGE) == before


def test_check_names_a_serviceaccount_that_does_not_exist(
    control_plane: ControlPlane, image: str, check: Check, namespace: str
) -> None:
    del image
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/web"
    control_plane.http.delete(path).raise_for_status()

    ended = check("--kubeconfig", control_plane.admin_kubeconfig)

    assert ended.code == 1
    assert f"ServiceAccount web not found in namespace {namespace}; create it, or" in ended.out


def test_check_names_the_key_that_iam_does_not_know(
    control_plane: ControlPlane, simulator: Simulator, image: str, check: Check, namespace: str
) -> None:
    del image
    (key,) = json.loads(control_plane.kubectl("get", "--raw", "/openid/v1/jwks"))["keys"]
    upload(simulator, {"keys": [{**key, "kid": "another"}]}, namespace)

    ended = check("--kubeconfig", control_plane.admin_kubeconfig)

    assert ended.code == 1
    assert f"the token key ID {key['kid']} is not known to the identity provider" in ended.out
    assert "eyJ" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--kubeconfig", "none"), 2, "no kubeconfig at none; set --kubeconfig or KUBECONFIG"),
        (("--context", "none"), 2, "kubeconfig"),
    ],
)
def test_check_without_a_usable_kubeconfig_says_so(
    image: str, check: Check, words: tuple[str, ...], code: int, told: str
) -> None:
    del image

    ended = check(*words)

    assert ended.code == code
    assert told in ended.err
