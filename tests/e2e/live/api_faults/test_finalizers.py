"""Finalizers that can't be put on or taken off at once."""

import pytest

from e2e.live.api_faults.proxied import CONFLICT, OBJECT, start
from e2e.live.world import World
from envtest import eventually, proxy
from envtest.proxy import Effect, FaultyProxy, Lose


def test_finalizer_that_can_not_be_put_on_keeps_the_batch_back(
    world: World, faulty: FaultyProxy
) -> None:
    start(world, faulty)
    faulty.fault("patch", OBJECT, proxy.refusal(500, "InternalError", "etcd is away"), count=2)
    image = world.image()

    world.apply([image], deletionPolicy="Reject")
    world.wait_for("Accepted")

    *refused, taken = faulty.calls("patch", OBJECT)
    (put,) = world.puts()
    assert [call.spoiled for call in refused] == [True, True]
    assert taken.at < put["at_monotonic_s"]
    assert put["images"] == [image]


@pytest.mark.parametrize(
    "effect",
    [
        CONFLICT,
        proxy.refusal(500, "InternalError", "etcd is away"),
        Lose(),
    ],
    ids=["conflict", "500", "answer lost"],
)
def test_finalizer_that_does_not_come_off_at_once_comes_off_later(
    world: World, faulty: FaultyProxy, effect: Effect
) -> None:
    start(world, faulty)
    image = world.accept(deletionPolicy="Reject")
    faulty.fault("patch", OBJECT, effect, count=1)

    world.delete()
    eventually(lambda: True if world.find() is None else None)

    assert world.membership(image) == "rejected"
    assert len(world.sent()) == 2
