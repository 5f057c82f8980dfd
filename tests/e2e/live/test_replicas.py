"""Two replicas and one Lease: one works, the other waits until it is its turn."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.process import ACCOUNT, SYSTEM, Operator, eventually
from e2e.live.world import MEMBER, PUT, World

LEADS = "leads as "
WAITS = "waits: "
HANDOVER_S = 20.0
ORDERLY_HANDOVER_S = 3.0
ROLE = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/rolebindings/{ACCOUNT}"
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"


def replica(kubeconfig: Path, log: Path, lease: str) -> Operator:
    return Operator(
        kubeconfig,
        log,
        ISA_LEADER_ELECTION="true",
        ISA_LEASE_NAMESPACE=SYSTEM,
        ISA_LEASE_NAME=lease,
    )


@pytest.fixture
def operator(kubeconfig: Path, tmp_path: Path, namespace: str) -> Iterator[Operator]:
    """The replica that leads first."""
    process = replica(kubeconfig, tmp_path / "first", namespace)
    process.start()
    eventually(lambda: LEADS in process.log or None)
    yield process
    process.kill()


@pytest.fixture
def standby(
    kubeconfig: Path, tmp_path: Path, namespace: str, operator: Operator
) -> Iterator[Operator]:
    process = replica(kubeconfig, tmp_path / "second", namespace)
    process.start()
    eventually(lambda: WAITS in process.log or None)
    assert LEADS not in process.log
    assert LEADS in operator.log
    yield process
    process.kill()


def took_over_after(standby: Operator, started: float) -> float:
    eventually(lambda: LEADS in standby.log or None, within_s=2 * HANDOVER_S)
    return time.monotonic() - started


def test_one_works_and_the_other_waits(world: World, standby: Operator) -> None:
    images = [world.image() for _ in range(5)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")

    assert world.sent() == sorted(images)
    assert world.operator.log.count("Ready True") == 5
    assert "Ready" not in standby.log


def test_killed_leader_is_followed_in_time(world: World, standby: Operator) -> None:
    world.sim.settings(job_seconds=2.0)
    world.apply([world.image()])
    world.wait_for("JobRunning")
    world.operator.kill()
    killed = time.monotonic()
    world.apply([world.image()], name="after")

    assert took_over_after(standby, killed) < HANDOVER_S
    world.wait_for("Accepted")
    world.wait_for("Accepted", name="after")
    assert world.calls(PUT) == 2


def test_leader_that_is_told_to_stop_hands_over_at_once(world: World, standby: Operator) -> None:
    """In the middle of work: each batch is sent once, by the one or by the other."""
    images = [world.image() for _ in range(30)]
    names = [world.apply([image], name=f"web-{n}") for n, image in enumerate(images)]
    eventually(lambda: world.calls(PUT) or None)
    told = time.monotonic()

    world.operator.terminate()

    assert took_over_after(standby, told) < ORDERLY_HANDOVER_S
    for name in names:
        world.wait_for("Accepted", name=name, within_s=30)
    assert world.sent() == sorted(images)
    assert "Ready True" in standby.log


@pytest.mark.parametrize("phase", range(4))
def test_batch_in_hand_when_told_to_stop_is_handed_over_and_not_sent_twice(
    world: World, standby: Operator, phase: int
) -> None:
    """The answer takes 9 s, the job 8 s: the next leader finds neither of them."""
    world.sim.settings(job_seconds=8.0)
    world.sim.fault(PUT, when={"nth": 1}, drip_seconds=9)
    images = [world.image(), world.image()]
    names = [world.apply([image], name=f"web-{n}") for n, image in enumerate(images)]
    eventually(lambda: world.calls(PUT) or None)
    time.sleep(phase * 0.14)  # against the looks of the one that waits
    told = time.monotonic()

    stopping = threading.Thread(target=world.operator.terminate)
    stopping.start()
    took = took_over_after(standby, told)
    stopping.join()
    marked = [world.status(name).get("unanswered") for name in names]

    assert took < ORDERLY_HANDOVER_S
    assert [mark and mark["images"] for mark in marked] == [[image] for image in images]
    for name in names:
        world.wait_for("Accepted", name=name, within_s=30)
        assert "unanswered" not in world.status(name)
    assert world.sent() == sorted(images)


def test_leader_that_was_frozen_wakes_up_and_writes_nothing(
    world: World, standby: Operator
) -> None:
    """Frozen between its look at the membership and its PUT: the worst moment there is."""
    image = world.image()
    world.sim.fault(MEMBER, when={"nth": 1}, drip_seconds=1)
    world.apply([image])
    eventually(lambda: world.calls(MEMBER) or None)
    frozen = time.monotonic()
    os.kill(world.operator.pid, signal.SIGSTOP)
    try:
        assert took_over_after(standby, frozen) < HANDOVER_S
        world.wait_for("Accepted")
        world.edit(decision="Reject")
        world.wait_for("Rejected")
    finally:
        os.kill(world.operator.pid, signal.SIGCONT)

    assert eventually(lambda: world.operator.exit_code) == 1
    assert "lost leadership" in world.operator.log
    assert world.calls(PUT) == 2
    assert world.membership(image) == "rejected"


def test_missing_right_for_the_lease_is_told_by_verb_and_resource(
    kubeconfig: Path, tmp_path: Path, world: World
) -> None:
    http = world.control_plane.http
    binding = http.get(ROLE).raise_for_status().json()
    http.delete(ROLE).raise_for_status()
    lame = replica(kubeconfig, tmp_path / "lame", "another")
    try:
        lame.start()
        eventually(
            lambda: f"get leases.coordination.k8s.io in namespace {SYSTEM}" in lame.log or None
        )
        assert LEADS not in lame.log
    finally:
        del binding["metadata"]["resourceVersion"]
        http.post(ROLE.rpartition("/")[0], json=binding).raise_for_status()

    eventually(lambda: LEADS in lame.log or None)
    assert lame.log.count("lacks this right") == 1
    lame.kill()


def test_lease_says_who_works_since_when(world: World, namespace: str) -> None:
    lease = world.control_plane.http.get(f"{LEASES}/{namespace}").raise_for_status().json()["spec"]

    assert lease["holderIdentity"] in world.operator.log
    assert lease["leaseDurationSeconds"] == 15
    assert lease["leaseTransitions"] == 0
    assert lease["renewTime"] >= lease["acquireTime"]
