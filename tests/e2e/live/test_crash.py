"""`kill -9` at the worst moments: what then holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.programs import operator_fixture
from e2e.live.world import JOB, MEMBER, PUT, World
from envtest import FreshOperator, eventually

# A response that does not come is waited for until after the test.
operator = operator_fixture("function", ISA_REQUEST_TIMEOUT_S="300")


def test_kill_while_polling_goes_on_with_the_known_job(world: World) -> None:
    world.hold_jobs()
    world.apply([world.image()])
    world.wait_for("JobRunning")
    job = world.status()["job"]["id"]
    polls = eventually(lambda: world.calls(JOB) or None)

    world.operator.kill()
    world.operator.start()
    eventually(lambda: world.calls(JOB) > polls or None)
    world.finish_jobs()
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1
    assert world.status()["job"]["id"] == job


def test_kill_before_the_answer_to_the_put_looks_before_it_sends_again(world: World) -> None:
    """The job is done by the time of the restart: nothing is sent again."""
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=30)
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)

    world.operator.kill()
    eventually(lambda: world.membership(image) == "accepted" or None)
    world.operator.start()
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1


def test_kill_before_the_answer_to_the_put_sends_once_more_at_most(world: World) -> None:
    """The job still runs at the restart, and its ID is lost: the same value is set again."""
    world.hold_jobs()
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=30)
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)

    world.operator.kill()
    world.operator.start()
    eventually(lambda: world.calls(PUT) > 1 or None)
    world.finish_jobs()
    world.wait_for("Accepted")

    assert world.calls(PUT) == 2
    assert world.membership(image) == "accepted"


def test_restart_with_settled_objects_asks_the_cloud_for_nothing(world: World) -> None:
    images = [world.image() for _ in range(6)]
    for number in range(5):
        world.apply([images[number]], name=f"web-{number}")
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")
    versions = [world.get(f"web-{n}")["metadata"]["resourceVersion"] for n in range(5)]
    looks = world.calls(MEMBER)

    world.operator.kill()
    world.operator.start()
    world.apply(images[5:], name="new")
    world.wait_for("Accepted", name="new")

    assert world.sent() == sorted(images)
    assert world.calls(MEMBER) == looks + 2
    assert [world.get(f"web-{n}")["metadata"]["resourceVersion"] for n in range(5)] == versions


@pytest.fixture
def fresh(kubeconfig: Path, tmp_path: Path, world: World) -> Iterator[World]:
    """A world whose operator has an interpreter of its own, which ends as in a pod."""
    world.operator.kill()
    world.operator = FreshOperator(kubeconfig, tmp_path / "fresh")
    world.operator.start()
    yield world
    world.operator.kill()


def test_sigterm_ends_the_process_before_its_jobs(fresh: World) -> None:
    world = fresh
    world.hold_jobs()
    world.apply([world.image()])
    world.wait_for("JobRunning")

    world.operator.terminate()

    assert world.operator.ended_with == 0
    assert "Traceback" not in world.operator.log
    world.operator.start()
    world.finish_jobs()
    world.wait_for("Accepted")
    assert world.calls(PUT) == 1


def test_sigterm_ends_the_process_while_the_cloud_does_not_answer(world: World) -> None:
    """What was sent is in the status, and the next process looks for it."""
    world.hold_jobs()
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=100)
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)

    world.operator.terminate()
    mark = world.status()["unanswered"]
    world.operator.start()
    world.finish_jobs()
    world.wait_for("Accepted")

    assert world.operator.ended_with == 0
    assert (mark["decision"], mark["images"]) == ("Accept", [image])
    assert "Traceback" not in world.operator.log
    assert world.calls(PUT) == 1
