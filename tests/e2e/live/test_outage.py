"""The cloud is down, or will not serve us, for a while: few requests, nothing twice, all heals."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from e2e.live.programs import operator_fixture
from e2e.live.world import JOB, LOGIN, MEMBER, PUT, World
from envtest import eventually
from envtest.proxy import Answer, Cut, Effect, FaultyProxy, Hang
from image_share_operator.cloud.http.circuit_breaker import MAX_OPEN_TIME, THRESHOLD
from image_share_operator.flowcontrol import backoff

OUTAGE_S = 6.0
AT_ONCE = 8
"""Requests under way; fewer than objects, so that it is not the objects that bound them."""
OBJECTS = 24
UNAVAILABLE = Answer(status=503, body="<html>maintenance</html>", content_type="text/html")


operator = operator_fixture(
    "function", ISA_ENDPOINT_REQUESTS=str(AT_ONCE), ISA_REQUEST_TIMEOUT_S="2"
)


@pytest.fixture
def cloud(world: World) -> Iterator[FaultyProxy]:
    """An endpoint of the simulated cloud that can be taken down; it counts requests then, too."""
    with FaultyProxy(world.sim.url) as running:
        yield running
        running.clear()


@pytest.fixture
def other_cloud(world: World) -> Iterator[FaultyProxy]:
    with FaultyProxy(world.sim.url) as running:
        yield running


def apply_at(world: World, cloud: FaultyProxy, names: range) -> None:
    for number in names:
        endpoints = {"iam": cloud.url, "ims": cloud.url}
        world.apply([world.image()], name=f"web-{number}", endpoints=endpoints)


def most_requests(lasted: timedelta) -> int:
    """As derived in the unit test of the same name: openers, requests under way, probes."""
    probes, at = 0, timedelta()
    while (at := at + backoff.exponential(probes + 1, jitter=0.0, ceiling=MAX_OPEN_TIME)) <= lasted:
        probes += 1
    return THRESHOLD + AT_ONCE + probes


@pytest.mark.parametrize(
    "effect", [Cut(), UNAVAILABLE, Hang()], ids=["resets", "503", "no answers"]
)
def test_outage_costs_few_requests_and_everything_heals(
    world: World, cloud: FaultyProxy, effect: Effect
) -> None:
    """Half of the objects have their jobs running when it begins, half come meanwhile."""
    world.hold_jobs()
    apply_at(world, cloud, range(OBJECTS // 2))
    for number in range(OBJECTS // 2):
        world.wait_for("JobRunning", name=f"web-{number}")

    began = time.monotonic()
    cloud.fault("*", "*", effect)
    apply_at(world, cloud, range(OBJECTS // 2, OBJECTS))
    eventually(lambda: time.monotonic() > began + OUTAGE_S or None)
    cloud.clear()
    lasted = timedelta(seconds=time.monotonic() - began)
    world.finish_jobs()

    for number in range(OBJECTS):
        world.wait_for("Accepted", name=f"web-{number}")
    failed = sum(call.spoiled for call in cloud.calls())
    assert 1 <= failed <= most_requests(lasted)
    assert len(world.sent()) == len(set(world.sent())) == OBJECTS


@pytest.mark.parametrize("effect", [Cut(), UNAVAILABLE], ids=["resets", "503"])
def test_outage_of_one_endpoint_does_not_touch_another(
    world: World, cloud: FaultyProxy, other_cloud: FaultyProxy, effect: Effect
) -> None:
    cloud.fault("*", "*", effect)
    apply_at(world, cloud, range(10))
    for number in range(10):
        world.wait_for("CloudUnavailable", name=f"web-{number}")

    apply_at(world, other_cloud, range(10, 20))
    for number in range(10, 20):
        world.wait_for("Accepted", name=f"web-{number}")

    away = [world.condition("Ready", f"web-{number}") for number in range(10)]
    assert {row and row["reason"] for row in away} == {"CloudUnavailable"}
    assert waited(world) == {f"web-{number}" for number in range(10)}
    assert len(world.sent()) == 10


def waited(world: World) -> set[str]:
    """The resources for which the log has an unavailable cloud."""
    lines = [line for line in world.operator.log.splitlines() if "CloudUnavailable" in line]
    return {f"web-{n}" for n in range(20) if any(f"/web-{n}:" in line for line in lines)}


def test_slow_body_is_given_up_after_the_timeout(world: World) -> None:
    """From connecting to the last byte; each byte by itself comes in time. 2 s here, else 30."""
    slow = world.image()
    world.sim.fault(MEMBER, images=[slow], drip_seconds=30)
    world.apply([slow], name="slow")
    world.apply([world.image()], name="other")

    ready = world.wait_for("CloudUnavailable", name="slow")

    assert "no response from 127.0.0.1:" in ready["message"]
    assert "timeout after 2 s" in ready["message"]
    world.wait_for("Accepted", name="other")
    world.sim.clear_faults()
    world.wait_for("Accepted", name="slow")


def test_unknown_host_is_unavailable(world: World) -> None:
    nowhere = "http://ims.nowhere.invalid"
    world.apply([world.image()], endpoints={"iam": nowhere, "ims": nowhere})

    ready = world.wait_for("CloudUnavailable")

    assert "no connection to ims.nowhere.invalid:80: no such host" in ready["message"]


def test_deletion_waits_for_a_cloud_that_is_down_and_says_so(
    world: World, cloud: FaultyProxy
) -> None:
    image = world.image()
    endpoints = {"iam": cloud.url, "ims": cloud.url}
    world.apply([image], endpoints=endpoints, deletionPolicy="Reject")
    world.wait_for("Accepted")
    cloud.fault("*", "*", Cut())

    world.delete()
    ready = world.wait_for("Rejecting")
    cloud.clear()
    eventually(lambda: True if world.find() is None else None)

    assert "connection lost" in ready["message"]
    assert world.membership(image) == "rejected"


@pytest.mark.parametrize("route", [MEMBER, JOB, LOGIN])
@pytest.mark.parametrize(
    "fault",
    [{"truncate": "body"}, {"truncate": "connection"}, {"status": 200, "body": "html"}],
    ids=["half the JSON", "half the JSON and gone", "HTML instead of JSON"],
)
def test_answer_that_can_not_be_read_is_asked_for_again(
    world: World, route: str, fault: dict[str, Any]
) -> None:
    world.sim.fault(route, count=2, **fault)

    world.accept()

    assert world.calls(PUT) == 1
    assert "Traceback" not in world.operator.log
