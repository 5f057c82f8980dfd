"""The API server fails, or is not yet as it should be; on a control plane of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import DEPLOY
from e2e.live.process import ACCOUNT, SYSTEM, Operator, eventually, install_rights
from e2e.live.world import World
from envtest import ControlPlane
from otc_simulator.client import Simulator

CRD = DEPLOY / "crds"


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


@pytest.fixture
def operator(own_control_plane: ControlPlane, tmp_path: Path) -> Iterator[Operator]:
    process = Operator(install_rights(own_control_plane), tmp_path / "log")
    yield process
    process.kill()


@pytest.fixture
def world(own_control_plane: ControlPlane, simulator: Simulator, operator: Operator) -> World:
    simulator.clear_faults()
    simulator.settings(job_seconds=0.4)
    namespace = own_control_plane.create_namespace("api")
    made = World(own_control_plane, simulator, operator, namespace)
    made.secret()
    return made


def test_missing_crd_is_told_and_waited_for(world: World) -> None:
    """First in the file: the control plane starts without the CRD."""
    world.operator.start()
    eventually(
        lambda: "imageshareacceptances.ims.otc.dev is not installed" in world.operator.log or None
    )

    world.control_plane.apply_crds(CRD)
    world.apply([world.image()])

    world.wait_for("Accepted")
    assert "Traceback" not in world.operator.log


def test_missing_right_is_told_by_verb_and_resource(world: World) -> None:
    world.control_plane.apply_crds(CRD)
    world.control_plane.kubectl("delete", "clusterrolebinding", ACCOUNT)
    world.operator.start()

    eventually(
        lambda: (
            "may not list imageshareacceptances.ims.otc.dev in all namespaces" in world.operator.log
            or None
        )
    )
    eventually(lambda: "may not get secrets in all namespaces" in world.operator.log or None)

    install_rights(world.control_plane)
    world.apply([world.image()])
    world.wait_for("Accepted", within_s=50)
    assert "Traceback" not in world.operator.log


def test_restart_of_the_api_server_loses_nothing(world: World) -> None:
    world.control_plane.apply_crds(CRD)
    world.operator.start()
    world.sim.settings(job_seconds=2.0)
    images = [world.image() for _ in range(6)]
    for number in range(5):
        world.apply([images[number]], name=f"web-{number}")
    for number in range(5):
        world.wait_for("JobRunning", name=f"web-{number}")

    world.control_plane.restart_apiserver()
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}", within_s=40)
    world.apply(images[5:], name="afterwards")
    world.wait_for("Accepted", name="afterwards", within_s=40)

    assert world.sent() == sorted(images)
    assert "Traceback" not in world.operator.log


def test_object_deleted_while_the_watch_was_down_is_forgotten(world: World) -> None:
    world.control_plane.apply_crds(CRD)
    world.operator.start()
    world.sim.settings(job_seconds=3.0)
    image = world.image()
    world.apply([image])
    world.wait_for("JobRunning")
    world.control_plane.restart_apiserver()
    world.delete()

    world.apply([image], decision="Reject")
    world.wait_for("Rejected", within_s=40)

    assert world.membership(image) == "rejected"


@pytest.mark.timeout(120)
def test_operator_that_finds_no_api_server_waits_for_it(world: World) -> None:
    """For longer than kopf has patience at its start."""
    world.control_plane.stop_apiserver()
    world.operator.start()
    try:
        eventually(lambda: "the watch broke off" in world.operator.log or None, within_s=60)
    finally:
        world.control_plane.start_apiserver()
    world.control_plane.apply_crds(CRD)

    world.apply([world.image()])

    world.wait_for("Accepted", within_s=40)
    assert "Traceback" not in world.operator.log


@pytest.mark.timeout(120)
def test_short_absence_of_the_api_server_keeps_the_lead(world: World, tmp_path: Path) -> None:
    """A long one costs it: the process ends, and waits for the API server when it starts again."""
    world.control_plane.apply_crds(CRD)
    leader = Operator(
        install_rights(world.control_plane),
        tmp_path / "leader",
        ISA_LEADER_ELECTION="true",
        ISA_LEASE_NAMESPACE=SYSTEM,
    )
    leader.start()
    eventually(lambda: "leads as" in leader.log or None)
    world.control_plane.restart_apiserver()
    world.apply([world.image()])
    world.wait_for("Accepted", within_s=40)
    assert leader.log.count("leads as") == 1

    world.control_plane.stop_apiserver()
    assert eventually(lambda: leader.exit_code) == 1
    leader.start()
    world.control_plane.start_apiserver()
    world.apply([world.image()], name="later")

    world.wait_for("Accepted", name="later", within_s=40)
    leader.terminate()
    assert "Traceback" not in leader.log
