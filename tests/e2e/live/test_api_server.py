"""The API server fails, or is not yet as it should be; on a control plane of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import DEPLOY
from e2e.live.rights import without_binding
from e2e.live.world import JOB_S, World
from envtest import ControlPlane, Operator, eventually, install_rights
from otc_simulator.client import Simulator

CRD = DEPLOY / "crds"


@pytest.fixture(scope="module")
def own_control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        running.apply_crds(CRD)
        yield running


@pytest.fixture(scope="module")
def own_kubeconfig(own_control_plane: ControlPlane) -> Path:
    return install_rights(own_control_plane)


@pytest.fixture
def operator(own_kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator that each test starts when it is ready."""
    process = Operator(own_kubeconfig, tmp_path / "log")
    yield process
    process.kill()


@pytest.fixture
def world(own_control_plane: ControlPlane, simulator: Simulator, operator: Operator) -> World:
    simulator.clear_faults()
    simulator.settings(job_seconds=JOB_S)
    namespace = own_control_plane.create_namespace("api")
    made = World(own_control_plane, simulator, operator, namespace)
    made.secret()
    return made


@pytest.fixture
def no_crd(own_control_plane: ControlPlane) -> Iterator[None]:
    """The CRD is not there until the test or its end brings it."""
    own_control_plane.kubectl("delete", "--wait", "-f", str(CRD))
    yield
    own_control_plane.apply_crds(CRD)


def told(world: World, words: str) -> None:
    """Wait until the log has these words."""
    eventually(lambda: words in world.operator.log or None)


@pytest.mark.usefixtures("no_crd")
def test_operator_reports_a_missing_crd_and_waits(world: World) -> None:
    world.operator.start()
    told(world, "imageshareacceptances.ims.otc.dev is not installed")

    world.control_plane.apply_crds(CRD)
    world.apply([world.image()])

    world.wait_for("Accepted")
    assert "Traceback" not in world.operator.log


def test_missing_permission_is_reported_by_verb_and_resource(world: World) -> None:
    with without_binding(world.control_plane, "ClusterRoleBinding"):
        world.operator.start()
        told(world, "cannot list imageshareacceptances.ims.otc.dev in all namespaces")
        told(world, "cannot get secrets in all namespaces")

    world.accept()
    assert "Traceback" not in world.operator.log


def test_restart_of_the_api_server_loses_nothing(world: World) -> None:
    world.operator.start()
    world.hold_jobs()
    images = [world.image() for _ in range(6)]
    for number in range(5):
        world.apply([images[number]], name=f"web-{number}")
    for number in range(5):
        world.wait_for("JobRunning", name=f"web-{number}")

    world.control_plane.restart_apiserver()
    world.finish_jobs()
    for number in range(5):
        world.wait_for("Accepted", name=f"web-{number}")
    world.apply(images[5:], name="afterwards")
    world.wait_for("Accepted", name="afterwards")

    assert world.sent() == sorted(images)
    assert "Traceback" not in world.operator.log


def test_object_deleted_while_the_watch_was_down_is_forgotten(world: World) -> None:
    world.operator.start()
    world.hold_jobs()
    image = world.image()
    world.apply([image])
    world.wait_for("JobRunning")
    world.control_plane.restart_apiserver()
    world.delete()

    world.apply([image], decision="Reject")
    world.finish_jobs()
    world.wait_for("Rejected")

    assert world.membership(image) == "rejected"


def test_operator_that_finds_no_api_server_waits_for_it(world: World) -> None:
    """For longer than kopf retries at its start."""
    world.control_plane.stop_apiserver()
    try:
        world.operator.start()
        told(world, "watch ended")
    finally:
        world.control_plane.start_apiserver()

    world.apply([world.image()])

    world.wait_for("Accepted")
    assert "Traceback" not in world.operator.log
