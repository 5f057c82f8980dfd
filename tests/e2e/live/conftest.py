"""The operator under the chart's own rights, against a real API server and a simulated cloud."""

import json
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e.live.programs import operator_fixture
from e2e.live.world import JOB_S, Operator, World, install_rights
from envtest import ControlPlane
from envtest.processes import free_port
from otc_simulator.client import Simulator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what there is to see of a test that failed: statuses, and the ends of the logs."""
    report = yield
    if report.when == "call" and report.failed and isinstance(item, pytest.Function):
        for name, value in item.funcargs.items():
            if isinstance(value, Operator):
                report.sections.append((f"log of {name}", value.tail()))
            elif isinstance(value, World):
                lines = [f"{key}: {json.dumps(row)}" for key, row in value.statuses().items()]
                report.sections.append((f"statuses in {value.namespace}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def kubeconfig(control_plane: ControlPlane) -> Path:
    return install_rights(control_plane)


@pytest.fixture
def port() -> int:
    """A port for the probes and metrics of one operator."""
    return free_port()


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator("--job-seconds", str(JOB_S)) as running:
        yield running


operator = operator_fixture()


@pytest.fixture
def world(
    control_plane: ControlPlane, simulator: Simulator, operator: Operator, namespace: str
) -> World:
    """A faultless cloud and a namespace with the right credentials in it."""
    simulator.resume()
    simulator.clear_faults()
    simulator.settings(job_seconds=JOB_S)
    simulator.finish_jobs()
    made = World(control_plane, simulator, operator, namespace)
    made.secret()
    return made


@pytest.fixture
def other(control_plane: ControlPlane, simulator: Simulator, operator: Operator) -> Iterator[World]:
    """Another tenant with a namespace of its own."""
    made = World(control_plane, simulator, operator, control_plane.create_namespace("other"))
    made.secret()
    yield made
    control_plane.http.delete(made.resources).raise_for_status()
