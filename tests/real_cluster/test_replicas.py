"""Two replicas on nodes: leader loss, drain, and a pod that is deleted while it starts."""

import time
from collections.abc import Callable

import pytest

from e2e.live.world import World
from envtest import eventually
from real_cluster.cluster import Cluster
from real_cluster.conftest import Note
from real_cluster.release import PODS, SELECTOR, Release, cordon, uncordon

TOLD_S = 10.0
"""The aim is 3 s; a busy cluster needs longer."""
KILLED_S = 30.0
"""The Lease lasts 15 s."""
GRACE_S = 30.0
"""Then the kubelet sends SIGKILL."""


def test_one_replica_leads(release: Release) -> None:
    leads = {
        pod: release.metrics(pod)["image_share_operator_leader"] == 1 for pod in release.pods()
    }

    assert [pod for pod, leading in leads.items() if leading] == [release.leader()]


def test_replicas_run_on_different_nodes(release: Release, cluster: Cluster) -> None:
    if len(cluster.nodes()) < 2:
        pytest.skip("needs two nodes")

    nodes = [pod["spec"]["nodeName"] for pod in release.pods().values()]

    assert len(set(nodes)) == 2


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_another_replica_continues_a_job_when_the_leader_is(
    how: str, release: Release, world: World, note: Note
) -> None:
    lose: dict[str, tuple[Callable[[str], object], float]] = {
        "deleted": (release.delete_pod, TOLD_S),
        "killed": (release.kill, KILLED_S),
    }
    image = world.image()
    world.hold_jobs()
    world.apply([image])
    world.wait_for("JobRunning")

    takeover_s = release.takeover(lose[how][0])
    world.finish_jobs()
    world.wait_for("Accepted")

    note(f"another replica led after {takeover_s:.1f} s")
    assert world.sent() == [image]
    assert takeover_s < lose[how][1]


def test_drain_moves_the_leader(
    release: Release, cluster: Cluster, world: World, note: Note, request: pytest.FixtureRequest
) -> None:
    if len(cluster.nodes()) < 2:
        pytest.skip("needs two nodes")
    node = release.pods()[release.leader()]["spec"]["nodeName"]
    image = world.image()
    world.hold_jobs()
    world.apply([image])
    world.wait_for("JobRunning")

    def drain(_: str) -> None:
        cordon(cluster, node)
        request.addfinalizer(lambda: uncordon(cluster, node))
        cluster.kubectl("drain", node, f"--pod-selector={SELECTOR}", "--timeout=180s")

    began = time.monotonic()
    release.takeover(drain)
    drained_s = time.monotonic() - began
    world.finish_jobs()
    world.wait_for("Accepted")
    release.rollout()

    note(f"drained, and another replica led, after {drained_s:.1f} s")
    assert world.sent() == [image]
    assert node not in {pod["spec"]["nodeName"] for pod in release.pods().values()}


@pytest.mark.parametrize("delay_s", [0, 0.2, 0.5, 1, 3])
def test_pod_that_is_deleted_while_it_starts_ends_after(
    delay_s: float, release: Release, cluster: Cluster, note: Note
) -> None:
    before = release.pods().keys()
    release.delete_pod(release.leader())
    pod = eventually(lambda: next(iter(release.pods().keys() - before), None))

    def running() -> bool | None:
        rows = cluster.get(f"{PODS}/{pod}")["status"].get("containerStatuses", [])
        return True if rows and "running" in rows[0]["state"] else None

    eventually(running)
    time.sleep(delay_s)
    began = time.monotonic()
    release.delete_pod(pod)
    eventually(lambda: True if pod not in release.pods() else None)

    ended_s = time.monotonic() - began
    note(f"ended after {ended_s:.1f} s")
    assert ended_s < GRACE_S / 2
