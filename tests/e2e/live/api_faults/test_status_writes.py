"""Status writes that fail: nothing is sent twice, and the status is written in the end."""

import pytest

from e2e.live.api_faults.proxied import CONFLICT, INVALID, STATUS, start
from e2e.live.world import PUT, World
from envtest import eventually, proxy
from envtest.proxy import Cut, Effect, FaultyProxy, Hang, Lose


@pytest.mark.parametrize(
    ("effect", "count"),
    [
        pytest.param(CONFLICT, 1, id="one conflict"),
        pytest.param(CONFLICT, 3, id="three conflicts"),
        pytest.param(proxy.refusal(403, "Forbidden", "a policy denied the request"), 3, id="403"),
        pytest.param(
            proxy.refusal(422, "Invalid", "is invalid: status.job", causes=[INVALID]), 3, id="422"
        ),
        pytest.param(proxy.refusal(401, "Unauthorized", "Unauthorized"), 2, id="401"),
        pytest.param(proxy.refusal(500, "InternalError", "etcd is away"), 3, id="500"),
        pytest.param(
            proxy.refusal(503, "ServiceUnavailable", "apiserver is shutting down"), 3, id="503"
        ),
        pytest.param(proxy.refusal(504, "Timeout", "the request took too long"), 3, id="504"),
        pytest.param(Cut(), 3, id="cut"),
        pytest.param(Lose(), 1, id="answer lost"),
        pytest.param(Hang(), 1, id="no answer"),
    ],
)
def test_status_write_that_fails_after_the_put_sends_nothing_twice(
    world: World, faulty: FaultyProxy, effect: Effect, count: int
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, effect, count=count)
    image = world.image()

    world.apply([image])
    world.wait_for("Accepted")

    assert world.sent() == [image]
    assert world.status()["job"]["status"] == "SUCCESS"
    assert "Traceback" not in world.operator.log


def test_status_write_that_fails_first_loses_no_event(world: World, faulty: FaultyProxy) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(500, "InternalError", "etcd is away"), count=1)

    world.accept()

    eventually(lambda: "Accepted" in world.events() or None)
    assert world.events().count("Submitted") == 1


def test_refused_status_write_is_reported_by_verb_and_resource(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(403, "Forbidden", "no"), count=1)

    world.accept()

    told = f"patch imageshareacceptances/status in namespace {world.namespace}"
    assert told in world.operator.log


def test_status_that_is_refused_for_good_does_not_keep_a_new_spec_waiting(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(422, "Invalid", "is invalid: status.job"))
    first, second = world.image(), world.image()
    world.apply([first])
    eventually(lambda: faulty.calls("patch", STATUS) or None)

    world.edit(images=[first, second])

    eventually(lambda: second in world.sent() or None)
    faulty.clear()
    world.wait_for("Accepted")
    assert world.sent() == sorted([first, second])


def test_status_writes_refused_for_long_are_tried_ever_more_rarely(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(500, "InternalError", "etcd is away"))
    image = world.image()
    world.apply([image])

    eventually(lambda: len(faulty.calls("patch", STATUS)) >= 4 or None)
    writes = faulty.calls("patch", STATUS)
    sent = world.sent()
    faulty.clear()
    world.wait_for("Accepted")

    # The delays of 1, 2 and 4 s, or half of each by jitter; three equal ones are 3 s at most.
    assert writes[3].at - writes[0].at >= 3.5
    assert sent == world.sent() == [image]


def test_kill_between_the_put_and_the_status_write_looks_first(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", STATUS, proxy.refusal(403, "Forbidden", "no"))
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)
    eventually(lambda: faulty.calls("patch", STATUS) or None)
    world.operator.kill()
    faulty.clear()
    assert "job" not in world.status()
    eventually(lambda: world.membership(image) == "accepted" or None)

    world.operator.start()
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1
