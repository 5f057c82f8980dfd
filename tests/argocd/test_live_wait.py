"""`kubectl wait --for=condition=Ready` never returns for what an older spec left."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from e2e.live.world import World
from envtest import KubectlError


def wait(world: World, timeout: str = "55s") -> None:
    """Wait with kubectl.

    Raises:
        KubectlError: the condition was not met in time.
    """
    world.control_plane.kubectl(
        "wait", "isa/web", "-n", world.namespace, "--for=condition=Ready", f"--timeout={timeout}"
    )


@contextmanager
def waiting(world: World) -> Iterator[Future[None]]:
    """Wait with kubectl from now on, beside the test; at the end the wait has to succeed."""
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(wait, world)
        yield waits
        waits.result()


def memberships(world: World) -> set[str | None]:
    return {world.membership(image) for image in world.get()["spec"]["images"]}


def test_wait_at_creation_ends_when_the_images_are_accepted(world: World) -> None:
    world.hold_jobs()
    world.apply([world.image(), world.image()])

    with waiting(world) as waits:
        world.wait_for("JobRunning")
        assert not waits.done()
        world.finish_jobs()

    assert memberships(world) == {"accepted"}


def test_wait_after_each_edit_ends_when_that_edit_is_served(world: World) -> None:
    world.apply([world.image()])
    wait(world)

    for _ in range(3):
        world.hold_jobs()
        world.edit(images=[*world.get()["spec"]["images"], world.image()])
        with waiting(world) as waits:
            world.wait_for("JobRunning")
            assert not waits.done()
            world.finish_jobs()
        assert memberships(world) == {"accepted"}
    world.edit(decision="Reject")
    wait(world)

    assert memberships(world) == {"rejected"}


def test_wait_times_out_without_an_operator(world: World) -> None:
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
