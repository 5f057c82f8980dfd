"""All forms of credentials against a cloud with a private certificate authority."""

import json
from collections.abc import Iterator

import pytest
import trustme

from e2e.live.world import LOGIN, PUT, World
from otc_simulator.client import Simulator


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def simulator(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Simulator]:
    """The cloud behind TLS."""
    scratch = tmp_path_factory.mktemp("tls")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(scratch / "key")
    for part in certificate.cert_chain_pems:
        part.write_to_path(scratch / "cert", append=True)
    arguments = ("--tls-cert", str(scratch / "cert"), "--tls-key", str(scratch / "key"))
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

    world.apply([world.image()])
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1


def test_user_id_and_password_log_in(world: World, ca: str) -> None:
    world.secret(userID=world.user_id, password=world.password, **{"ca.crt": ca})

    world.apply([world.image()])

    world.wait_for("Accepted")
