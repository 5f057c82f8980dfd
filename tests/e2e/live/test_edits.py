"""Many edits of one resource in a short time."""

import time

from e2e.live.world import PUT, World

EDITS = 10
WITHIN_S = 0.1


def test_ten_edits_in_100_ms_end_in_the_last_one(world: World) -> None:
    """The operator reconciles the latest version, not each of them."""
    images = [world.accept()]
    puts = world.calls(PUT)
    images += [world.image() for _ in range(EDITS)]

    began = time.monotonic()
    for number in range(EDITS):
        world.edit(images=images[: number + 2])
        time.sleep(max(began + (number + 1) * WITHIN_S / EDITS - time.monotonic(), 0))
    took = time.monotonic() - began
    world.wait_for("Accepted")

    status = world.status()
    assert took < 10 * WITHIN_S
    assert sorted(row["id"] for row in status["images"]) == sorted(images)
    assert status["observedGeneration"] == 1 + EDITS
    assert world.sent() == sorted(images)
    assert world.calls(PUT) - puts <= 3
