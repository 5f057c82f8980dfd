"""Twenty resources of one project that select images: one list for each interval, no writes."""

import time

import pytest

from e2e.live.owners import LIST, days, latest, publish, select
from e2e.live.world import World
from envtest import eventually

COUNT = 20
INTERVAL_S = 60.0
"""The shortest `interval`; checks of one project are within a sixtieth of it."""
SLACK_S = 1.0
LISTS = 3
"""Accepted, pending and rejected images. A new list of each may have one more page."""


@pytest.mark.starts_first
def test_twenty_resources_share_a_list_and_accept_a_new_build_within_the_interval(
    world: World,
) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    names = [
        select(world, {"newest": 1}, name=f"web-{number}", interval="1m") for number in range(COUNT)
    ]
    for name in names:
        world.wait_for("Accepted", name)
    before = [world.get(name) for name in names]
    lists = world.calls(LIST)

    eventually(lambda: world.calls(LIST) > lists or None, within_s=INTERVAL_S * 1.2)
    time.sleep(INTERVAL_S / 60 + SLACK_S)

    assert world.calls(LIST) - lists <= LISTS + 1
    assert [world.get(name) for name in names] == before  # also resourceVersion
    assert world.sent() == [old]

    new = publish(world, "ubuntu-20260108")
    eventually(
        lambda: all(latest(world, name) == {"": new} for name in names) or None,
        within_s=INTERVAL_S * 1.2,
    )
    assert sorted(world.sent()) == sorted(
        [old, new]
    )  # one PUT, also for those that find it while the job runs
    for name in names:
        assert "LatestChanged" in world.events(name)
