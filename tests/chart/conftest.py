"""The real helm; for the live tests a control plane of their own, which keeps an audit log."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import prom
from chart.crd import without_crd, without_resources
from chart.programs import CHART, PROGRAMS, RELEASE, Helm
from envtest import ControlPlane
from otc_simulator.client import Simulator
from prom import Promtool


@pytest.fixture(scope="session")
def helm(install: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    install(*PROGRAMS)
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture
def platform(helm: Helm, tmp_path: Path) -> Path:
    """A parent chart, which installs the chart of the operator when a value says so."""
    directory = tmp_path / "platform"
    directory.mkdir()
    dependency = {
        "name": RELEASE,
        "version": ">=0",
        "repository": f"file://{CHART}",
        "condition": f"{RELEASE}.enabled",
    }
    chart = {
        "apiVersion": "v2",
        "name": "platform",
        "version": "1.0.0",
        "dependencies": [dependency],
    }
    (directory / "Chart.yaml").write_text(yaml.safe_dump(chart))
    helm("dependency", "build", str(directory))
    return directory


@pytest.fixture(scope="session")
def promtool(install: Callable[..., Path]) -> Promtool:
    return Promtool(install(*prom.PROGRAMS))


@pytest.fixture(scope="session")
def _running(install: Callable[..., Path]) -> Iterator[ControlPlane]:
    """It knows the kinds of the Prometheus operator, flux and Argo CD."""
    install()
    with ControlPlane(audit=True) as running:
        running.apply_crds(Path(__file__).parent / "testdata")
        yield running


@pytest.fixture(scope="module")
def control_plane(_running: ControlPlane, helm: Helm) -> ControlPlane:
    """The control plane without releases and without our CRD, whatever other modules left."""
    helm.at(_running.admin_kubeconfig).uninstall_all()
    without_resources(_running)
    without_crd(_running)
    return _running


@pytest.fixture(scope="module")
def cluster(helm: Helm, control_plane: ControlPlane) -> Helm:
    """Helm with the control plane as its cluster."""
    return helm.at(control_plane.admin_kubeconfig)


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with Simulator("--job-seconds", "0.4") as running:
        yield running
