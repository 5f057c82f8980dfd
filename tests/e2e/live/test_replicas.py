"""Two replicas and one Lease: one works, the other waits until it is its turn."""

import json
import os
import signal
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from e2e.live.rights import without_binding
from e2e.live.world import MEMBER, PUT, World
from envtest import SYSTEM, ControlPlane, Operator, eventually

LEADS = "became leader as "
WAITS = "standby: "
LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"


def replica(kubeconfig: Path, log: Path, lease: str) -> Operator:
    return Operator(
        kubeconfig,
        log,
        ISA_LEADER_ELECTION="true",
        ISA_LEASE_NAMESPACE=SYSTEM,
        ISA_LEASE_NAME=lease,
        # An answer that does not come is waited for until after the test.
        ISA_REQUEST_TIMEOUT_S="300",
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


def wait_for_lead(operator: Operator) -> None:
    eventually(lambda: LEADS in operator.log or None)


def holders(control_plane: ControlPlane, lease: str, since: str) -> list[str]:
    """The holders of the Lease from that version on, in order; an empty name for none."""
    query = f"fieldSelector=metadata.name={lease}&resourceVersion={since}"
    stream = control_plane.http.get(f"{LEASES}?watch=true&timeoutSeconds=1&{query}")
    events = [json.loads(line) for line in stream.raise_for_status().text.splitlines()]
    seen = [event["object"]["spec"]["holderIdentity"] for event in events]
    return [name for name, _ in groupby(seen)]


def version(control_plane: ControlPlane, lease: str) -> str:
    """The resourceVersion of the Lease."""
    found = control_plane.http.get(f"{LEASES}/{lease}").raise_for_status().json()
    return str(found["metadata"]["resourceVersion"])


def was_given_back(control_plane: ControlPlane, lease: str, since: str) -> bool:
    """Whether the second holder got the Lease from the first, before it expired."""
    *_, nobody, second = holders(control_plane, lease, since)
    return nobody == "" and second != ""


def test_one_works_and_the_other_waits(world: World, standby: Operator) -> None:
    images = [world.image() for _ in range(5)]
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")

    eventually(lambda: world.operator.log.count("Ready True") == 5 or None)
    assert world.sent() == sorted(images)
    assert "Ready" not in standby.log


def test_killed_leader_is_followed(world: World, standby: Operator) -> None:
    world.hold_jobs()
    world.apply([world.image()])
    world.wait_for("JobRunning")
    world.operator.kill()
    world.apply([world.image()], name="after")
    world.finish_jobs()

    wait_for_lead(standby)
    world.wait_for("Accepted")
    world.wait_for("Accepted", name="after")
    assert world.calls(PUT) == 2


def test_leader_releases_the_lease_when_it_stops(
    world: World, standby: Operator, namespace: str
) -> None:
    """In the middle of work: each batch is sent once, by the one or by the other."""
    images = [world.image() for _ in range(30)]
    names = [world.apply([image], name=f"web-{n}") for n, image in enumerate(images)]
    eventually(lambda: world.calls(PUT) or None)
    since = version(world.control_plane, namespace)

    world.operator.terminate()

    wait_for_lead(standby)
    assert was_given_back(world.control_plane, namespace, since)
    for name in names:
        world.wait_for("Accepted", name=name)
    assert world.sent() == sorted(images)
    assert "Ready True" in standby.log


@pytest.mark.parametrize("phase", range(4))
def test_batch_in_hand_when_told_to_stop_is_handed_over_and_not_sent_twice(
    world: World, standby: Operator, namespace: str, phase: int
) -> None:
    """The next leader finds neither the answer to the batch nor the end of its job."""
    world.hold_jobs()
    world.sim.fault(PUT, when={"first": 2}, drip_seconds=100)
    images = [world.image(), world.image()]
    names = [world.apply([image], name=f"web-{n}") for n, image in enumerate(images)]
    eventually(lambda: world.sent() == sorted(images) or None)
    time.sleep(phase * 0.14)  # the standby reads the Lease each half second
    since = version(world.control_plane, namespace)

    world.operator.terminate()
    wait_for_lead(standby)
    marked = [world.status(name).get("unanswered") for name in names]
    world.finish_jobs()

    assert was_given_back(world.control_plane, namespace, since)
    assert [mark and mark["images"] for mark in marked] == [[image] for image in images]
    for name in names:
        world.wait_for("Accepted", name=name)
        assert "unanswered" not in world.status(name)
    assert world.sent() == sorted(images)


def test_leader_that_was_frozen_wakes_up_and_writes_nothing(
    world: World, standby: Operator
) -> None:
    """Frozen between its check of the membership and its PUT: the worst moment there is."""
    image = world.image()
    world.sim.fault(MEMBER, when={"nth": 1}, drip_seconds=5)
    world.apply([image])
    eventually(lambda: world.calls(MEMBER) or None)
    os.kill(world.operator.pid, signal.SIGSTOP)
    try:
        wait_for_lead(standby)
        world.wait_for("Accepted")
        world.edit(decision="Reject")
        world.wait_for("Rejected")
    finally:
        os.kill(world.operator.pid, signal.SIGCONT)

    assert eventually(lambda: world.operator.exit_code) == 1
    assert "lost leadership" in world.operator.log
    assert world.calls(PUT) == 2
    assert world.membership(image) == "rejected"


def test_missing_permission_for_the_lease_is_reported(
    control_plane: ControlPlane, kubeconfig: Path, tmp_path: Path, namespace: str
) -> None:
    lame = replica(kubeconfig, tmp_path / "lame", namespace)
    try:
        with without_binding(control_plane, "RoleBinding", SYSTEM):
            lame.start()
            eventually(
                lambda: f"get leases.coordination.k8s.io in namespace {SYSTEM}" in lame.log or None
            )
            assert LEADS not in lame.log

        wait_for_lead(lame)
        told = [line for line in lame.log.splitlines() if "lacks this permission" in line]
        assert sum(" ERROR " in line for line in told) == 1
    finally:
        lame.kill()


def test_lease_says_who_works_since_when(world: World, namespace: str) -> None:
    lease = world.control_plane.http.get(f"{LEASES}/{namespace}").raise_for_status().json()["spec"]

    assert lease["holderIdentity"] in world.operator.log
    assert lease["leaseDurationSeconds"] == 15
    assert lease["leaseTransitions"] == 0
    assert lease["renewTime"] >= lease["acquireTime"]
