"""Install, upgrade, rollback and uninstall with helm."""

import os
import time

from e2e.live.world import World
from real_cluster.cluster import Cluster
from real_cluster.conftest import Installed, Note
from real_cluster.release import CRD, Release, image_values


def test_installation_serves_a_first_resource(installed: Installed, note: Note) -> None:
    ready = installed.sim.membership(installed.first_image, installed.first.project)
    failed = "; ".join(f"Event Unhealthy: {message}" for message in installed.unhealthy)

    probes = failed or "no Event Unhealthy"
    note(f"Ready {installed.first_ready_s:.1f} s after `helm install`, with the pull; {probes}")
    assert ready == "accepted"


def test_helm_test_passes(release: Release) -> None:
    assert "Phase:          Succeeded" in release.test()


def test_upgrade_and_rollback_send_nothing_again(
    release: Release, world: World, image: str, note: Note
) -> None:
    """With PREVIOUS_IMAGE, the upgrade is the one from that image."""
    accepted = world.accept()
    version = world.get()["metadata"]["resourceVersion"]
    old = release.pods().keys()
    began = time.monotonic()

    release.upgrade(image=image_values(image), podAnnotations={"upgraded": "true"})
    upgraded_s = time.monotonic() - began
    new = release.pods().keys()
    assert old.isdisjoint(new)
    assert release.leader() in new
    later = world.image()
    world.apply([later], name="later")
    world.wait_for("Accepted", name="later")
    release.rollback()
    assert release.pods().keys().isdisjoint(new)
    release.leader()
    world.annotate("later", **{"ims.otc.dev/reconcile-at": "1"})
    world.wait_for("Accepted", name="later")

    previous = os.environ.get("PREVIOUS_IMAGE")
    note(f"{f'from {previous}, ' if previous else ''}rolled out after {upgraded_s:.1f} s")
    assert world.sent() == sorted([accepted, later])
    assert world.get()["metadata"]["resourceVersion"] == version


def test_resources_outlive_the_release(
    release: Release, cluster: Cluster, world: World, note: Note
) -> None:
    accepted = world.accept()
    before = world.get()

    release.uninstall()
    assert cluster.find(CRD) is not None
    assert world.get() == before
    began = time.monotonic()
    release.install()
    release.leader()
    installed_s = time.monotonic() - began
    later = world.image()
    world.apply([later], name="later")
    world.wait_for("Accepted", name="later")

    note(f"a new release led after {installed_s:.1f} s")
    assert world.sent() == sorted([accepted, later])
    assert world.get() == before
