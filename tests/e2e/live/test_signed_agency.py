"""An access key that assumes the agency of another account, by signed requests to IAM."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.world import LOGIN, Operator, World

AGENCY = "image-sharing"
ACCOUNTS = "GET /v3/auth/domains"
WRONG = "sk-wrong-horse-battery"
TEMPORARY = {"security_token": "st-horse-battery"}


@pytest.fixture(params=["scoped"])
def operator(
    kubeconfig: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Operator]:
    """An operator of the test's own, which signs in this form."""
    process = Operator(kubeconfig, tmp_path / "log", ISA_SIGNING_FORM=str(request.param))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def account(world: World) -> str:
    """The account of another team, with an agency; our user may assume agencies."""
    account = f"team-{world.namespace}"
    world.project = world.sim.add_project("eu-de_team", domain=account)
    world.sim.change_user(world.user_id, agent_operator=True)
    world.sim.add_agency(AGENCY, account)
    return account


def agency(account: str) -> dict[str, str]:
    return {"name": AGENCY, "domainName": account}


def add_key(world: World, **key: str) -> dict[str, str]:
    """Give the user of the test an access key; return the keys of its Secret."""
    key_id, secret_key = f"AK{world.namespace}".upper(), f"sk-of-{world.namespace}"
    world.sim.add_access_key(world.user_id, key_id, secret_key, **key)
    token = {"securityToken": key["security_token"]} if key else {}
    return {"accessKey": key_id, "secretKey": secret_key, **token}


@pytest.mark.parametrize(
    ("operator", "key"),
    [("scoped", {}), ("plain", TEMPORARY)],
    indirect=["operator"],
    ids=["scoped, permanent", "plain, temporary"],
)
def test_access_key_assumes_the_agency_for_all_projects_after_one_check(
    world: World, account: str, key: dict[str, str]
) -> None:
    held = add_key(world, **key)
    world.secret(**held)
    projects = [world.project, *(world.sim.add_project(f"p-{n}", domain=account) for n in range(3))]
    images = {one: world.sim.add_image(shared_with=[one]) for one in projects}
    before = {route: world.sim.calls(route) for route in (LOGIN, ACCOUNTS)}
    world.sim.settings(signing_form="plain" if key else "scoped")

    try:
        for number, project in enumerate(projects):
            name = f"web-{number}"
            world.apply([images[project]], name=name, projectID=project, agency=agency(account))
        for number in range(len(projects)):
            world.wait_for("Accepted", f"web-{number}")
    finally:
        world.sim.settings(signing_form="both")

    assert {world.sim.membership(images[one], one) for one in projects} == {"accepted"}
    assert world.sim.calls(ACCOUNTS) - before[ACCOUNTS] == 1
    assert world.sim.calls(LOGIN) - before[LOGIN] == len(projects)
    assert world.status("web-0")["actingAs"] == f"agency {AGENCY} of account {account}"
    shown = f"{world.operator.log} {world.statuses()}"
    assert not [name for name, value in held.items() if value in shown]


def test_wrong_access_key_of_many_projects_is_sent_once(world: World, account: str) -> None:
    held = add_key(world)
    world.secret(**held | {"secretKey": WRONG})
    failed = world.sim.counters()["signatures_failed"]

    for number in range(10):
        project = world.sim.add_project(f"p-{number}", domain=account)
        image = world.sim.add_image(shared_with=[project])
        world.apply([image], name=f"web-{number}", projectID=project, agency=agency(account))
    for number in range(10):
        ready = world.wait_for("CredentialsInvalid", f"web-{number}")
        assert "accessKey or secretKey is wrong; correct the Secret" in ready["message"]

    assert world.sim.counters()["signatures_failed"] - failed == 1
    world.secret(**held)
    world.wait_for("Accepted", "web-9")


def test_clock_skew_is_reported_in_minutes(world: World, account: str) -> None:
    world.secret(**add_key(world))
    world.sim.settings(clock_skew_seconds=20 * 60)

    try:
        world.apply([world.sim.add_image(shared_with=[world.project])], agency=agency(account))
        ready = world.wait_for("CloudUnavailable")
    finally:
        world.sim.settings(clock_skew_seconds=0)

    assert "the clock of the operator is about 20 minutes behind that of the" in ready["message"]


def test_key_that_was_deleted_is_reported_and_replaced_without_a_restart(
    world: World, account: str
) -> None:
    held = add_key(world)
    world.secret(**held)
    image = world.sim.add_image(shared_with=[world.project])
    world.apply([image], agency=agency(account))
    world.wait_for("Accepted")
    world.sim.delete_access_key(held["accessKey"])
    world.sim.expire_tokens()
    failed = world.sim.counters()["signatures_failed"]

    world.edit(images=[image, world.sim.add_image(shared_with=[world.project])])
    ready = world.wait_for("CredentialsInvalid")

    assert "the access key was deleted or disabled; put another one" in ready["message"]
    assert world.sim.counters()["signatures_failed"] - failed == 2
    world.sim.add_access_key(world.user_id, "AKNEXT", "sk-next")
    world.secret(accessKey="AKNEXT", secretKey="sk-next")
    world.wait_for("Accepted")
