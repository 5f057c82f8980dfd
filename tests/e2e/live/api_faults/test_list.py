"""Lists that fail, on the first page or later: the watch begins and misses nothing."""

import pytest

from e2e.live.api_faults.proxied import FIRST_PAGE, RESOURCES, gaps, start
from e2e.live.world import World
from envtest import proxy
from envtest.proxy import Cut, Effect, FaultyProxy


@pytest.mark.parametrize(
    ("effect", "count"),
    [
        (proxy.gone(), 1),
        (proxy.refusal(500, "InternalError", "etcd is away"), 3),
        (Cut(), 2),
        (proxy.too_many_requests(1), 2),
    ],
    ids=["expired", "500", "cut", "429"],
)
def test_list_that_fails_on_its_second_page_misses_nothing(
    world: World, faulty: FaultyProxy, effect: Effect, count: int
) -> None:
    images = [world.image() for _ in range(5)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    faulty.limit_pages(2)
    faulty.fault("list", RESOURCES, effect, count=count, query="continue=")

    start(world, faulty)
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.sent() == sorted(images)
    assert "Traceback" not in world.operator.log


@pytest.mark.parametrize("count", [3, 8], ids=["for a moment", "for longer than kopf is patient"])
def test_429_on_the_list_is_waited_out(world: World, faulty: FaultyProxy, count: int) -> None:
    faulty.fault("list", RESOURCES, proxy.too_many_requests(1), count=count, query=FIRST_PAGE)
    world.apply([world.image()])

    start(world, faulty)
    world.wait_for("Accepted")

    waits = gaps([c for c in faulty.calls("list", RESOURCES) if FIRST_PAGE in c.query])
    assert len(waits) == count
    # When its patience ends, kopf starts again at once.
    assert sum(wait < 1.0 for wait in waits) <= count // 6
