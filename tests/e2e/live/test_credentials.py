"""All forms of credentials against a cloud with a private certificate authority."""

import json
import ssl
from collections.abc import Iterator

import httpx
import pytest
import trustme

from contract.caller import password_login
from e2e.live.world import LOGIN, PUT, World
from otc_simulator.client import Simulator, tls_arguments


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def simulator(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Simulator]:
    """The cloud behind TLS."""
    arguments = tls_arguments(authority, tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with Simulator("--job-seconds", "0.4", *arguments) as running:
        yield running


@pytest.fixture
def ca(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


def login(world: World) -> dict[str, str]:
    return {"username": world.user, "password": world.password, "domainName": world.sim.domain}


def test_private_authority_in_the_secret_is_trusted(world: World, ca: str) -> None:
    assert world.sim.url.startswith("https://")
    world.secret(**login(world), **{"ca.crt": ca})

    world.apply([world.image()])

    world.wait_for("Accepted")


def test_unknown_authority_is_not_trusted_and_the_message_says_what_to_do(world: World) -> None:
    world.secret(**login(world))

    world.apply([world.image()])
    ready = world.wait_for("CloudUnavailable")

    assert "ca.crt" in ready["message"]
    assert world.calls(LOGIN) == 0


def test_ca_that_is_no_certificate_is_named(world: World) -> None:
    world.secret(**login(world), **{"ca.crt": "not a certificate"})

    world.apply([world.image()])
    ready = world.wait_for("CredentialsInvalid")

    assert "ca.crt" in ready["message"]


def test_clouds_yaml_with_a_named_cloud_logs_in(world: World, ca: str) -> None:
    auth = {
        "auth_url": "https://elsewhere.invalid/v3",
        "username": world.user,
        "password": world.password,
        "user_domain_name": world.sim.domain,
    }
    clouds = {"clouds": {"otc": {"auth": auth}, "other": {"auth": {}}}}
    world.secret(**{"clouds.yaml": json.dumps(clouds), "cloud": "otc", "ca.crt": ca})

    world.accept()

    assert world.calls(PUT) == 1


CLOUDS = """
clouds:
  otc:
    auth: {{username: '{user}', password: {password}, user_domain_name: '{domain}'}}
{more}
"""


@pytest.mark.parametrize(
    ("password", "more", "message"),
    [
        (
            "'{password}'",
            "    obs_endpoint: 'https://obs.{region}.test'",
            "cloud otc can't be read",
        ),
        ("0123456", "", "auth.password of cloud otc is not a string: quote it"),
        ("12:30:45", "", "auth.password of cloud otc is not a string: quote it"),
        ("'{password}'", "    a: &a [x]\n    b: *a", "aliases are not supported"),
        ("'{password}'", "    auth_type: v3multifactor", "v3multifactor is not supported"),
        ("'ENC[AES256_GCM,data:eA==,type:str]'", "", "is still encrypted (SOPS)"),
    ],
    ids=["braces", "octal number", "sexagesimal number", "aliases", "second factor", "SOPS"],
)
def test_unusable_clouds_yaml_sends_no_login(
    world: World, ca: str, password: str, more: str, message: str
) -> None:
    text = CLOUDS.format(
        user=world.user,
        password=password.replace("{password}", world.password),
        domain=world.sim.domain,
        more=more,
    )
    world.secret(**{"clouds.yaml": text, "ca.crt": ca})

    world.apply([world.image()])
    ready = world.wait_for("CredentialsInvalid")

    assert ready["message"].startswith("Secret otc-credentials: clouds.yaml: ")
    assert message in ready["message"]
    assert stalled(world) == "True"
    assert world.calls(LOGIN) == 0


def test_token_of_another_project_is_named(world: World, ca: str) -> None:
    other = world.sim.add_project(f"other_{world.namespace}")
    world.secret(token=token_for(world, ca, other), **{"ca.crt": ca})

    world.apply([world.image()])
    ready = world.wait_for("CredentialsInvalid")

    assert f"it is for project {other}, not for spec.projectID {world.project}" in ready["message"]
    assert stalled(world) == "True"


def stalled(world: World) -> str:
    rows = world.status()["conditions"]
    return next(str(row["status"]) for row in rows if row["type"] == "Stalled")


def token_for(world: World, ca: str, project: str) -> str:
    body = password_login(
        world.user, world.password, world.sim.domain, {"project": {"id": project}}
    )
    tls = ssl.create_default_context(cadata=ca)
    made = httpx.post(f"{world.sim.url}/v3/auth/tokens", json=body, verify=tls, trust_env=False)
    return str(made.raise_for_status().headers["X-Subject-Token"])
