"""Watches that end, stay silent or are lost: no change is missed, none is served twice."""

import pytest

from e2e.live import impatient, probes
from e2e.live.api_faults.proxied import CRDS, FIRST_PAGE, RESOURCES, SECRET, start
from e2e.live.world import LOGIN, MEMBER, PUT, World
from envtest import eventually, proxy
from envtest.proxy import Cut, Effect, FaultyProxy, Stream


@pytest.mark.parametrize(
    ("last", "reset", "again"),
    [
        ("", False, None),
        ("", True, None),
        ('{"type":"MODIFIED","object":{"apiVers', True, None),
        (proxy.gone_event(), False, None),
        (proxy.error_event(500, "InternalError", "etcd is away"), False, None),
        ("", True, proxy.gone()),
        ("", True, Stream(proxy.gone_event())),
        ("", True, proxy.refusal(401, "Unauthorized", "Unauthorized")),
        ("", True, proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down")),
        ("", True, proxy.too_many_requests(2)),
        ("", True, Cut()),
    ],
    ids=[
        "in order",
        "by a reset",
        "in the middle of an event",
        "with 410 Gone as an event",
        "with 500 as an event",
        "and is refused with HTTP 410",
        "and begins with 410 Gone as an event",
        "and is refused with 401",
        "and is refused with 503",
        "and is refused with 429",
        "and its next connection is cut",
    ],
)
def test_watch_that_ends_misses_nothing(
    world: World, faulty: FaultyProxy, last: str, reset: bool, again: Effect | None
) -> None:
    start(world, faulty)
    old, added, new = world.image(), world.image(), world.image()
    world.apply([old])
    world.wait_for("Accepted")

    faulty.silence_watches()
    world.edit(images=[old, added])
    world.apply([new], name="new")
    if again is not None:
        faulty.fault("watch", RESOURCES, again, count=1)
    assert faulty.end_watches(RESOURCES, last=last, reset=reset) == 1
    faulty.unsilence_watches()

    world.wait_for("Accepted")
    world.wait_for("Accepted", name="new")
    assert world.sent() == sorted([old, added, new])
    assert "Traceback" not in world.operator.log


def test_object_deleted_while_the_watch_was_gone_is_served_no_more(
    world: World, faulty: FaultyProxy, port: int
) -> None:
    """The next list does not name it, and no event tells of its end."""
    world.operator.env["ISA_METRICS_PORT"] = str(port)
    start(world, faulty)
    deleted, other = world.sim.add_image(), world.sim.add_image()
    world.apply([deleted])
    world.wait_for("NotShared")
    world.apply([other], name="other")
    world.wait_for("NotShared", name="other")

    faulty.silence_watches()
    world.delete()
    faulty.end_watches(RESOURCES, last=proxy.gone_event())
    faulty.unsilence_watches()
    eventually(lambda: known(port) == 1 or None)
    world.sim.seed(shares=[(deleted, world.project, "pending")])
    before = checks(world, deleted)
    # The operator found out later that this one is not shared, so it checks it again later.
    twice = checks(world, other) + 2
    eventually(lambda: checks(world, other) >= twice or None)

    assert checks(world, deleted) == before
    assert world.calls(PUT) == 0


def known(port: int) -> float:
    """How many objects the operator knows."""
    told = probes.ask(port, "/metrics")
    lines = [] if told is None else told.text.splitlines()
    objects = [line for line in lines if line.startswith("image_share_operator_objects{")]
    return sum(float(line.rpartition(" ")[2]) for line in objects)


def checks(world: World, image: str) -> int:
    """How often the membership of the image was asked for."""
    return sum(image in row["path"] for row in world.sim.journal(MEMBER))


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_object_that_took_the_name_of_a_deleted_one_is_served_at_once(
    world: World, faulty: FaultyProxy, first: bool
) -> None:
    """A pass over the old one ends while the watch is silent: the answer to its write tells."""
    start(world, faulty)
    old, new = world.image(), world.image()
    if first:
        world.sim.fault(LOGIN, delay_seconds=1, count=1)
        world.apply([old])
        eventually(lambda: faulty.calls("get", SECRET) or None)
    else:
        world.hold_jobs()
        world.apply([old])
        world.wait_for("JobRunning")

    faulty.silence_watches()
    world.delete()
    world.apply([new], decision="Reject")
    world.finish_jobs()
    world.wait_for("Rejected")

    status = world.status()
    assert [row["id"] for row in status["images"]] == [new]
    assert status["job"]["decision"] == "Reject"
    assert world.sent() == sorted([old, new])
    assert world.membership(new) == "rejected"


def test_watch_that_falls_silent_is_opened_again(world: World, faulty: FaultyProxy) -> None:
    """As behind a router that drops all packets, without so much as a bookmark."""
    world.operator.program = (impatient.__file__,)
    start(world, faulty)
    faulty.silence_watches()
    world.apply([world.image()])
    opened = len(faulty.calls("watch", RESOURCES))

    eventually(lambda: len(faulty.calls("watch", RESOURCES)) > opened or None)
    unseen = world.status()
    faulty.unsilence_watches()

    world.wait_for("Accepted")
    assert unseen == {"observedGeneration": -1}
    assert world.calls(PUT) == 1


def test_connections_that_are_reset_while_opening_lose_nothing(
    world: World, faulty: FaultyProxy
) -> None:
    """Three times each: of the list, the watch and the watch of CRDs."""
    start(world, faulty)
    first, second = world.image(), world.image()
    world.apply([first])
    world.wait_for("Accepted")

    faulty.fault("list", RESOURCES, Cut(), count=3, query=FIRST_PAGE)
    faulty.fault("watch", RESOURCES, Cut(), count=3)
    faulty.fault("watch", CRDS, Cut(), count=3)
    faulty.end_watches(last=proxy.gone_event())
    eventually(lambda: any(call.spoiled for call in faulty.calls("list", RESOURCES)) or None)
    world.apply([second], name="new")

    world.wait_for("Accepted", name="new")
    eventually(lambda: faulty.open_watches(CRDS) or None)
    spoiled = [call for call in faulty.calls() if call.spoiled]
    assert len(spoiled) == 9
    assert world.sent() == sorted([first, second])
    assert "watch ended" not in world.operator.log
