"""401 of the API server to the watch: kopf logs in again, and no change is missed."""

import functools
from pathlib import Path

import pytest

from e2e.live import impatient
from e2e.live.api_faults.proxied import FIRST_PAGE, RESOURCES, gaps, start
from e2e.live.world import World
from envtest import Operator, eventually, proxy
from envtest.proxy import FaultyProxy

UNAUTHORIZED = proxy.refusal(401, "Unauthorized", "Unauthorized")
TIMES = 100
MORE_FILES = 10
"""Connections that may be open by chance: each login opens new ones."""


def open_files(operator: Operator) -> int:
    return len(list(Path(f"/proc/{operator.pid}/fd").iterdir()))


def refused(faulty: FaultyProxy, verb: str) -> int:
    return sum(call.spoiled for call in faulty.calls(verb, RESOURCES))


def opened_again(faulty: FaultyProxy, refusals: int) -> bool | None:
    return (refused(faulty, "watch") == refusals and faulty.open_watches(RESOURCES) == 1) or None


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_watch_recovers_after_100_refused_logins(
    world: World, faulty: FaultyProxy, verb: str
) -> None:
    """As while the API server cannot reach its authenticator."""
    world.operator.program = (impatient.__file__,)
    start(world, faulty)
    first, second = world.image(), world.image()
    world.apply([first])
    world.wait_for("Accepted")
    before = open_files(world.operator)

    query = FIRST_PAGE if verb == "list" else ""
    faulty.fault(verb, RESOURCES, UNAUTHORIZED, count=TIMES, query=query)
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    eventually(lambda: refused(faulty, verb) or None)
    world.apply([second], name="later")

    world.wait_for("Accepted", name="later")
    assert refused(faulty, verb) == TIMES
    assert world.sent() == sorted([first, second])
    assert open_files(world.operator) <= before + MORE_FILES
    assert "watch ended" not in world.operator.log


def test_watch_logs_in_again_100_times(world: World, faulty: FaultyProxy) -> None:
    """As in two days of a cluster whose tokens are valid for 30 minutes."""
    world.operator.program = (impatient.__file__,)
    start(world, faulty)
    before = open_files(world.operator)

    for number in range(1, TIMES + 1):
        faulty.fault("watch", RESOURCES, UNAUTHORIZED, count=1)
        faulty.end_watches(RESOURCES)
        eventually(functools.partial(opened_again, faulty, number))

    world.accept()
    assert open_files(world.operator) <= before + MORE_FILES
    assert "watch ended" not in world.operator.log


def test_watch_logs_in_once_per_second_while_it_is_refused(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("watch", RESOURCES, UNAUTHORIZED, count=4)
    faulty.end_watches(RESOURCES)

    world.accept()

    *_, first, second, third = gaps([c for c in faulty.calls("watch", RESOURCES) if c.spoiled])
    assert min(second, third) > 0.9
    assert first < 5.0
