"""The operator under the chart's own rights, against a real API server and a simulated cloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.world import Operator, World, install_rights
from envtest import ControlPlane
from envtest.processes import free_port
from otc_simulator.client import Simulator


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    return install_rights(control_plane)


@pytest.fixture
def port() -> int:
    """A port for the probes and metrics of one operator."""
    return free_port()


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator("--job-seconds", "0.4") as running:
        yield running


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One operator for a module: its tests use namespaces, images and Secrets of their own."""
    process = Operator(kubeconfig, tmp_path_factory.mktemp("operator") / "log")
    process.start()
    yield process
    process.terminate()


@pytest.fixture
def world(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator, namespace: str
) -> World:
    """A faultless cloud and a namespace with the right credentials in it."""
    simulator.resume()
    simulator.clear_faults()
    simulator.settings(job_seconds=0.4)
    made = World(control_plane, simulator, operator, namespace)
    made.secret()
    return made
