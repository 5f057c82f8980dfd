"""Secrets, Events, and calls of all kinds that fail or hang."""

import pytest

from e2e.live.api_faults.proxied import SECRET, start
from e2e.live.world import PUT, World
from envtest import eventually, proxy
from envtest.proxy import Cut, Effect, FaultyProxy, Hang


@pytest.mark.parametrize(
    "effect",
    [
        proxy.refusal(403, "Forbidden", "no"),
        proxy.refusal(500, "InternalError", "etcd is away"),
        Cut(),
        Hang(),
    ],
    ids=["403", "500", "cut", "no answer"],
)
def test_secret_that_can_not_be_read_for_a_while_is_read_later(
    world: World, faulty: FaultyProxy, effect: Effect
) -> None:
    start(world, faulty)
    faulty.fault("get", SECRET, effect, count=2)

    world.accept()

    assert world.calls(PUT) == 1
    assert "Traceback" not in world.operator.log


def test_events_that_hang_delay_nothing(world: World, faulty: FaultyProxy) -> None:
    world.operator.env["ISA_REQUEST_TIMEOUT_S"] = "300"  # far longer than the test waits
    start(world, faulty)
    faulty.fault("create", "*/events", Hang())

    world.accept()

    assert faulty.calls("create", "*/events") != []
    assert world.calls(PUT) == 1


def test_api_server_that_hangs_loses_nothing(world: World, faulty: FaultyProxy) -> None:
    """Every call hangs, those in flight too; longer than the operator's patience with one."""
    world.hold_jobs()
    start(world, faulty)
    old, new = world.image(), world.image()
    world.apply([old])
    world.wait_for("JobRunning")

    faulty.silence_watches()
    faulty.fault("*", "*", Hang())
    world.apply([new], name="new")
    world.finish_jobs()
    # Each call begins when the operator has given up an earlier one.
    eventually(lambda: sum(call.spoiled for call in faulty.calls("list")) >= 4 or None)
    faulty.clear()

    world.wait_for("Accepted")
    world.wait_for("Accepted", name="new")
    assert world.sent() == sorted([old, new])
    assert "Traceback" not in world.operator.log
