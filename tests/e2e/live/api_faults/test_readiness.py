"""Readiness while the watch is lost, and before its list is in."""

import time

import pytest

from e2e.live import probes
from e2e.live.api_faults.proxied import FIRST_PAGE, RESOURCES, start
from e2e.live.world import World
from envtest import Operator, eventually, proxy
from envtest.proxy import Cut, Effect, FaultyProxy, Hang

POLL_S = 0.1
LIMIT_S = 5.0
"""As in the chart. `/readyz` waits until the replica is ready."""


@pytest.fixture
def probed(operator: Operator, port: int) -> int:
    """The port of the probes of an operator that is not started yet."""
    operator.env["ISA_METRICS_PORT"] = str(port)
    return port


def readiness(port: int) -> str | None:
    """The response to a probe; ``None`` without one."""
    told = probes.ask(port, "/readyz", limit_s=LIMIT_S)
    return None if told is None else told.text.strip()


def told(port: int, words: str) -> None:
    """Wait until the readiness response starts with this text."""
    eventually(lambda: (readiness(port) or "").startswith(words) or None)


@pytest.mark.parametrize(
    "effect",
    [
        Cut(),
        Hang(),
        proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down"),
        proxy.refusal(403, "Forbidden", "watch is forbidden"),
    ],
    ids=["connections are cut", "no response", "503", "403"],
)
def test_replica_is_not_ready_while_the_watch_is_lost(
    world: World, faulty: FaultyProxy, probed: int, effect: Effect
) -> None:
    start(world, faulty)
    told(probed, "ok")

    faulty.fault("watch", RESOURCES, effect)
    faulty.end_watches(RESOURCES, reset=True)
    told(probed, "the watch is lost")
    # Nor is it ready for a moment, when it lists or starts again.
    tries = len(faulty.calls("watch", RESOURCES))
    while len(faulty.calls("watch", RESOURCES)) == tries:
        assert readiness(probed) != "ok"
        time.sleep(POLL_S)
    world.apply([world.image()])
    faulty.clear()

    told(probed, "ok")
    world.wait_for("Accepted")


def test_replica_is_not_ready_before_the_list_of_its_watch_is_in(
    world: World, faulty: FaultyProxy, probed: int
) -> None:
    """Neither at the start nor when all must be listed again; counting them works meanwhile."""
    for number in range(3):
        world.apply([world.image()], name=f"web-{number}")
    faulty.fault("list", RESOURCES, Hang(), query=FIRST_PAGE)
    world.operator.start()
    told(probed, "the list is not complete: 0 of ")
    faulty.clear()
    told(probed, "ok")

    faulty.fault("list", RESOURCES, Hang(), query=FIRST_PAGE)
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    told(probed, "the list is not complete: 0 of ")
    faulty.clear()

    told(probed, "ok")
