"""`kill -9` at the worst moments: what then holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.world import ACCOUNT, JOB, MEMBER, PUT, Operator, World, eventually

RIGHTS = f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{ACCOUNT}"


@pytest.fixture
def operator(kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator of the test's own: it will not live long."""
    process = Operator(kubeconfig, tmp_path / "log")
    process.start()
    yield process
    process.kill()


def test_kill_while_polling_goes_on_with_the_known_job(world: World) -> None:
    world.sim.settings(job_seconds=4.0)
    world.apply([world.image()])
    world.wait_for("JobRunning")
    job = world.status()["job"]["id"]
    eventually(lambda: world.calls(JOB) or None)

    world.operator.kill()
    world.operator.start()
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
    """The job still runs at the restart, and nobody knows its id: the same value is set again."""
    world.sim.settings(job_seconds=5.0)
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=30)
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)

    world.operator.kill()
    world.operator.start()
    world.wait_for("Accepted", within_s=30)

    assert world.calls(PUT) == 2
    assert world.membership(image) == "accepted"


def test_kill_between_the_put_and_the_status_write_looks_first(world: World) -> None:
    http = world.control_plane.http
    rules = http.get(RIGHTS).raise_for_status().json()["rules"]
    lame = [rule for rule in rules if rule["resources"] != ["imageshareacceptances/status"]]
    merge = {"Content-Type": "application/merge-patch+json"}
    http.patch(RIGHTS, headers=merge, json={"rules": lame}).raise_for_status()
    image = world.image()
    try:
        world.apply([image])
        eventually(lambda: world.calls(PUT) or None)
        eventually(lambda: "patch imageshareacceptances/status" in world.operator.log or None)
        world.operator.kill()
    finally:
        http.patch(RIGHTS, headers=merge, json={"rules": rules}).raise_for_status()
    assert "job" not in world.status()
    eventually(lambda: world.membership(image) == "accepted" or None)

    world.operator.start()
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1


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


def test_sigterm_ends_the_process_in_time(world: World) -> None:
    world.sim.settings(job_seconds=5.0)
    world.apply([world.image()])
    world.wait_for("JobRunning")

    took = world.operator.terminate()

    assert took < 3
    assert "Traceback" not in world.operator.log
    world.operator.start()
    world.wait_for("Accepted")
    assert world.calls(PUT) == 1


def test_sigterm_while_the_cloud_does_not_answer_ends_the_process_in_time(world: World) -> None:
    """What was sent is in the status, and the next process looks for it."""
    world.sim.settings(job_seconds=5.0)
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=30)
    image = world.image()
    world.apply([image])
    eventually(lambda: world.calls(PUT) or None)

    took = world.operator.terminate()
    mark = world.status()["unanswered"]
    world.operator.start()
    world.wait_for("Accepted", within_s=30)

    assert took < 3
    assert (mark["decision"], mark["images"]) == ("Accept", [image])
    assert "Traceback" not in world.operator.log
    assert world.calls(PUT) == 1
