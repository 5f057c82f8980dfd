"""What is wrong ends in the condition that the contract names, with words that say what to do.

What the API server refuses by itself is in `test_crd_validation.py`.
"""

import pytest

from e2e.live.programs import SHORT_WAITS, operator_fixture
from e2e.live.world import LOGIN, PUT, World

WRONG = "wrong-horse-battery-staple"


operator = operator_fixture(program=SHORT_WAITS)


@pytest.fixture(autouse=True)
def quiet_log(world: World) -> object:
    """Whatever happens in these tests, the log shows no traceback and no secret."""
    yield None
    log = world.operator.log
    assert "Traceback" not in log
    assert WRONG not in log
    assert world.password not in log
    assert "MII" not in log  # how the simulator's tokens begin


def stalled(world: World, reason: str) -> bool:
    condition = world.condition("Stalled") or {}
    return (condition.get("status"), condition.get("reason")) == ("True", reason)


def test_missing_secret_says_which_one_and_goes_on_when_it_comes(world: World) -> None:
    world.apply([world.image()], credentialsSecretRef={"name": "later"})
    ready = world.wait_for("SecretNotFound")

    assert "Secret later not found" in ready["message"]
    assert stalled(world, "SecretNotFound")
    world.secret(name="later")
    world.wait_for("Accepted")


def test_secret_without_a_key_names_the_key_and_not_its_neighbours(world: World) -> None:
    world.secret(username="acceptor", password=WRONG)

    world.apply([world.image()])
    ready = world.wait_for("CredentialsInvalid")

    assert "domainName" in ready["message"]
    assert WRONG not in str(world.get())
    assert world.calls(LOGIN) == 0


def wait_for_a_secret_poll(world: World) -> str:
    """Apply a resource, wait until it has read its Secret twice; return its image."""
    image = world.image()
    user = f"other-{world.namespace}"
    world.sim.add_user(user, world.password)
    world.apply([image], name="other", credentialsSecretRef={"name": "other"})
    world.wait_for("SecretNotFound", name="other")
    world.secret("other", username=user, password=world.password, domainName=world.sim.domain)
    world.wait_for("Accepted", name="other")
    return image


def test_wrong_password_is_tried_twice_at_most_then_quiet(world: World) -> None:
    world.secret(username=world.user, password=WRONG, domainName=world.sim.domain)
    for number in range(5):
        world.apply([world.image()], name=f"web-{number}")

    messages = {
        world.wait_for("CredentialsInvalid", name=f"web-{number}")["message"] for number in range(5)
    }
    other = wait_for_a_secret_poll(world)
    world.apply([world.image()], name="late")
    messages.add(world.wait_for("CredentialsInvalid", name="late")["message"])

    assert all("Secret" in message for message in messages)
    assert 1 <= world.calls(LOGIN) - 1 <= 2  # without that of the right credentials
    assert world.sent() == [other]
    assert WRONG not in str(world.get("web-0"))
    assert WRONG not in str(world.events("web-0"))


def test_wrong_project_says_so(world: World) -> None:
    world.apply([world.image()], projectID="f" * 32)

    ready = world.wait_for("InvalidRequest")

    assert "spec.projectID" in ready["message"]
    assert stalled(world, "InvalidRequest")
    assert world.calls(PUT) == 0


def test_missing_permission_of_the_user_is_reported(world: World) -> None:
    rights = {world.project: ["get", "list"]}
    world.sim.add_user("reader", "pw-of-reader", policies=rights)
    world.secret(username="reader", password="pw-of-reader", domainName=world.sim.domain)

    world.apply([world.image()])
    ready = world.wait_for("PermissionDenied")

    assert "IMG.0026" in ready["message"]
    assert stalled(world, "PermissionDenied")


def test_image_that_is_not_shared_is_named_and_answered_when_it_is(world: World) -> None:
    shared = world.image()
    lonely = world.sim.add_image()
    world.apply([shared, lonely])

    ready = world.wait_for("NotShared")

    assert lonely in ready["message"]
    assert world.condition("Stalled") is None
    assert (world.condition("Reconciling") or {})["reason"] == "WaitingForShare"
    assert world.status()["summary"] == "1/2"
    world.sim.seed(shares=[(lonely, world.project, "pending")])
    world.wait_for("Accepted")


def test_failed_job_is_reported_with_the_message_of_the_cloud(world: World) -> None:
    fail = {
        "fail": ["*"],
        "partial": "C",
        "error_code": "IMG.0182",
        "fail_reason": "vault too small",
    }
    world.sim.fault(PUT, job=fail)

    world.apply([world.image(), world.image()])
    ready = world.wait_for("InvalidRequest")

    assert "IMG.0182" in ready["message"]
    assert stalled(world, "InvalidRequest")
    assert world.status()["job"]["status"] == "FAIL"
    assert world.calls(PUT) == 3  # both, and each alone


def test_cloud_that_is_down_is_unavailable_and_heals_by_itself(world: World) -> None:
    image = world.image()
    world.sim.pause()

    world.apply([image])
    ready = world.wait_for("CloudUnavailable")

    address = world.sim.url.removeprefix("http://")
    assert f"no connection to {address}: connection refused" in ready["message"]
    world.sim.resume()
    world.wait_for("Accepted")


def test_endpoint_that_only_the_api_server_accepts_is_reported_by_field(
    world: World,
) -> None:
    """What follows ``xn--`` must be Punycode, which no rule of a CRD can tell."""
    world.apply([world.image()], endpoints={"iam": "https://xn--a", "ims": "https://xn--a"})

    ready = world.wait_for("InvalidRequest")

    assert ready["message"].startswith("spec.endpoints: https://xn--a")
    assert stalled(world, "InvalidRequest")
