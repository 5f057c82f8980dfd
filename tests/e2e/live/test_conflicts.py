"""Two tenants with opposite decisions for one image: one is in charge, and no other one blocks."""

import time

import pytest

from e2e.live.programs import operator_fixture
from e2e.live.world import World
from envtest import eventually
from otc_simulator.client import Simulator

SECOND_S = 1.1
"""Longer than the precision of ``creationTimestamp``."""


operator = operator_fixture("function")


def share_user(world: World, other: World) -> None:
    """Let the other tenant use the project of the first one, with valid credentials."""
    other.secret(username=world.user, password=world.password, domainName=world.sim.domain)


def test_older_resource_stays_in_charge_across_namespaces_and_restarts(
    world: World, other: World
) -> None:
    share_user(world, other)
    image, free = world.image(), world.image()
    other.apply([image], "older", decision="Reject", projectID=world.project)
    other.wait_for("Rejected", "older")
    time.sleep(SECOND_S)
    world.apply([image, free], "younger")

    ready = world.wait_for("Conflict", "younger")
    assert "a resource in another namespace" in ready["message"]
    assert (world.condition("Stalled", "younger") or {})["status"] == "True"
    assert (world.membership(image), world.membership(free)) == ("rejected", "accepted")
    eventually(lambda: "Conflict" in world.events("younger") or None)

    world.operator.kill()
    world.operator.start()
    world.annotate("younger", **{"ims.otc.dev/reconcile-at": "now"})
    eventually(lambda: world.status("younger").get("lastHandledReconcileAt"))
    assert [put["images"] for put in world.puts()] == [[image], [free]]
    assert world.status("younger")["conditions"][0]["reason"] == "Conflict"

    other.delete("older")
    world.wait_for("Accepted", "younger")
    assert world.membership(image) == "accepted"
    assert "DriftDetected" not in world.events("younger")


def test_suspended_or_edited_older_resource_gives_way_and_names_the_other(world: World) -> None:
    image = world.image()
    world.apply([image], "older", decision="Reject")
    time.sleep(SECOND_S)
    world.apply([image], "younger")
    world.wait_for("Rejected", "older")
    assert "conflict with older" in world.wait_for("Conflict", "younger")["message"]

    world.edit("older", suspend=True)
    world.wait_for("Accepted", "younger")
    world.edit("older", suspend=False)
    world.wait_for("Conflict", "younger")
    world.wait_for("Rejected", "older")
    world.edit("older", decision="Accept")
    world.wait_for("Accepted", "younger")

    assert "DriftDetected" not in world.events("older") + world.events("younger")


@pytest.mark.parametrize("attack", ["wrong password", "endpoints elsewhere"])
def test_older_resource_without_valid_credentials_blocks_no_other(
    world: World, other: World, attack: str
) -> None:
    image = world.image()
    if attack == "wrong password":
        other.secret(username=world.user, password="a guess", domainName=world.sim.domain)
        other.apply([image], "older", decision="Reject", projectID=world.project)
        other.wait_for("CredentialsInvalid", "older")
        world.apply([image], "younger")
        world.wait_for("Accepted", "younger")
    else:
        with Simulator("--job-seconds", "0.4") as own:
            own.seed(
                accounts=[
                    {"name": own.domain, "projects": [{"name": "eu-de_x", "id": world.project}]}
                ]
            )
            own.add_user(other.user, other.password)
            own.add_image(shared_with=(world.project,), id=image)
            endpoints = {"iam": own.url, "ims": own.url}
            other.apply(
                [image], "older", decision="Reject", projectID=world.project, endpoints=endpoints
            )
            other.wait_for("Rejected", "older")
            world.apply([image], "younger")
            world.wait_for("Accepted", "younger")

    assert world.membership(image) == "accepted"
