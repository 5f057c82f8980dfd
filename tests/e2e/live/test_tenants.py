"""Tenants who share one operator: what each can reach, and what it can't."""

import httpx
import pytest

from e2e.live.echo import Answer, Asked, cloud
from e2e.live.world import LOGIN, World
from otc_simulator.client import Simulator


def test_requests_go_to_the_endpoints_of_their_own_object_only(world: World) -> None:
    """A second cloud gets the second object's requests, with its token, and no others."""
    with Simulator("--job-seconds", "0.4") as elsewhere:
        project = elsewhere.add_project(f"eu-de_{world.namespace}")
        elsewhere.add_user(world.user, world.password)
        image = elsewhere.add_image(shared_with=(project,))
        url = elsewhere.url
        world.apply([world.image()])
        world.apply([image], "far", projectID=project, endpoints={"iam": url, "ims": url})
        world.wait_for("Accepted")
        world.wait_for("Accepted", "far")

        here = {row["project"] for row in world.sim.journal() if row["project"]}
        there = {row["project"] for row in elsewhere.journal() if row["project"]}

    assert project not in here
    assert there == {project}


def test_catalog_of_a_login_is_ignored(world: World) -> None:
    """An IAM that names another image service is not believed: endpoints come from the spec."""
    asked: list[str] = []

    def poison(request: Asked) -> Answer:
        asked.append(request.path)
        if not request.login:
            return Answer(404)
        endpoint = {"interface": "public", "region": "eu-de", "url": world.sim.url}
        catalog = [{"type": "image", "name": "ims", "endpoints": [endpoint]}]
        body = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "catalog": catalog}}
        return Answer(201, body, {"X-Subject-Token": "MIIpoisoned"})

    calls = sum(world.sim.counters()["calls"].values())
    with cloud(poison) as url:
        world.apply([world.image()], endpoints={"iam": url, "ims": url})
        world.wait_for("NotShared")

    assert any("/members/" in path for path in asked)
    assert sum(world.sim.counters()["calls"].values()) == calls


@pytest.mark.parametrize(
    "name",
    ["../other/secrets/theirs", "other/theirs", "other%2Ftheirs", "..", "theirs?x=y", "theirs#x"],
)
def test_name_of_a_secret_leads_to_no_other_namespace(world: World, name: str) -> None:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        world.apply([world.image()], credentialsSecretRef={"name": name})

    assert refused.value.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "credentialsSecretRef.name" in refused.value.response.text


def test_secret_of_another_namespace_is_not_found(world: World, other: World) -> None:
    other.secret("theirs", username=other.user, password=other.password, domainName="d")

    world.apply([world.image()], credentialsSecretRef={"name": "theirs"})

    world.wait_for("SecretNotFound")


def test_name_of_a_user_is_no_key_to_the_token_of_another_tenant(
    world: World, other: World
) -> None:
    """Same user, same project, same endpoints; only the password is a guess."""
    image = world.image()
    world.apply([image], decision="Reject")
    world.wait_for("Rejected")
    logins = world.calls(LOGIN)
    other.secret(username=world.user, password="a guess", domainName=world.sim.domain)

    other.apply([image], projectID=world.project)

    other.wait_for("CredentialsInvalid")
    assert world.calls(LOGIN) == logins + 1
    assert world.membership(image) == "rejected"


def test_words_of_a_cloud_are_cleaned_and_cut_before_they_are_shown(world: World) -> None:
    """No terminal gets a control sequence, and no status grows without bound."""
    noise = "\x1b[2J\x1b[31m\r\n<script>alert(1)</script> " + "word " * 5000 + "x" * 5000

    def rule(request: Asked) -> Answer:
        if request.login:
            body = {"token": {"expires_at": "2099-01-01T00:00:00.000000Z"}}
            return Answer(201, body, {"X-Subject-Token": "MIInoisy"})
        return Answer(403, {"error": {"code": "IMG.0026", "message": noise}})

    with cloud(rule) as url:
        world.apply([world.image()], endpoints={"iam": url, "ims": url})
        ready = world.wait_for("PermissionDenied")

    assert ready["message"].isprintable()
    assert len(ready["message"]) < 600
    assert "\x1b[2J" not in world.operator.log


def test_answer_without_an_end_is_read_to_its_bound_and_told(world: World) -> None:
    def rule(_: Asked) -> Answer:
        return Answer(201, " " * (16 << 20), {"X-Subject-Token": "MIIlong"})

    with cloud(rule) as url:
        world.apply([world.image()], endpoints={"iam": url, "ims": url})
        ready = world.wait_for("CloudUnavailable")

    assert ": the response is larger than 1 MiB" in ready["message"]
