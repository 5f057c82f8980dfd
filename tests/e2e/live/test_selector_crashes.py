"""`kill -9` while a selector accepts or rejects images."""

import pytest

from e2e.live.owners import (
    batches,
    check,
    days,
    publish,
    select,
    selections,
    wait_for_latest,
    wait_for_membership,
)
from e2e.live.programs import operator_fixture
from e2e.live.world import PUT, World
from envtest import eventually

# A response that does not come is waited for until after the test.
operator = operator_fixture("function", ISA_REQUEST_TIMEOUT_S="300")


def wait_for_puts(world: World, count: int) -> None:
    eventually(lambda: True if world.calls(PUT) == count else None)


@pytest.mark.parametrize("lost", [False, True], ids=["job known", "response lost"])
@pytest.mark.parametrize("rejecting", [False, True], ids=["accepting", "rejecting"])
def test_kill_while_the_job_runs_ends_in_the_same_state(
    world: World, *, rejecting: bool, lost: bool
) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")
    last = 3 if rejecting else 2
    if lost:
        world.sim.fault(PUT, projects=[world.project], when={"nth": last - 1}, drip_seconds=30)
    if not rejecting:
        world.hold_jobs()
    new = publish(world, "ubuntu-20260108")
    world.annotate(**{"ims.otc.dev/reconcile-at": "now"})
    wait_for_puts(world, 2)
    if rejecting:
        world.hold_jobs()
        wait_for_puts(world, 3)

    world.operator.kill()
    world.operator.start()
    world.finish_jobs()
    wait_for_membership(world, old, "rejected")
    wait_for_latest(world, new)
    world.wait_for("Accepted")

    assert selections(world) == {new: "Selected", old: "Superseded"}
    assert batches(world)[:last] == [[old], [new], [old]][:last]
    assert len(batches(world)) <= 3 + lost


def test_restart_of_settled_selectors_submits_nothing(world: World) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")
    new = publish(world, "ubuntu-20260108")
    check(world)
    wait_for_membership(world, old, "rejected")
    world.wait_for("Accepted")
    check(world)
    version = world.get()["metadata"]["resourceVersion"]

    world.operator.kill()
    world.operator.start()
    select(world, name="other")
    world.wait_for("Accepted", "other")

    assert world.get()["metadata"]["resourceVersion"] == version
    assert batches(world) == [[old], [new], [old], [old]]
