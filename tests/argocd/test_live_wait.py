"""`kubectl wait --for=condition=Ready` never returns for what an older spec left."""

import time

import pytest

from e2e.live.world import World
from envtest import KubectlError

JOB_S = 2.0
"""Long against the moment in which a stale condition would be believed."""


def wait(world: World, timeout: str = "30s") -> float:
    """Wait with kubectl; return the seconds that it took."""
    started = time.monotonic()
    world.control_plane.kubectl(
        "wait", "isa/web", "-n", world.namespace, "--for=condition=Ready", f"--timeout={timeout}"
    )
    return time.monotonic() - started


def memberships(world: World) -> set[str | None]:
    return {world.membership(image) for image in world.get()["spec"]["images"]}


def test_wait_at_creation_ends_when_the_images_are_accepted(world: World) -> None:
    world.sim.settings(job_seconds=JOB_S)
    world.apply([world.image(), world.image()])

    took = wait(world)

    assert memberships(world) == {"accepted"}
    assert took > JOB_S / 2


def test_wait_after_each_edit_ends_when_that_edit_is_served(world: World) -> None:
    world.sim.settings(job_seconds=JOB_S)
    world.apply([world.image()])
    wait(world)

    for _ in range(3):
        world.edit(images=[*world.get()["spec"]["images"], world.image()])
        took = wait(world)
        assert memberships(world) == {"accepted"}
        assert took > JOB_S / 2
    world.edit(decision="Reject")
    wait(world)

    assert memberships(world) == {"rejected"}


def test_wait_runs_out_while_nobody_serves_the_edit(world: World) -> None:
    world.apply([world.image()])
    wait(world)
    world.operator.terminate()
    try:
        world.edit(images=[world.image()])
        with pytest.raises(KubectlError, match="timed out"):
            wait(world, timeout="1s")
    finally:
        world.operator.start()

    wait(world)
    assert memberships(world) == {"accepted"}
