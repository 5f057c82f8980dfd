"""The live tests here use the control plane, cloud and operator of the end-to-end tests."""

import pytest

from argocd.samples import Samples
from e2e.conftest import control_plane, namespace
from e2e.live.conftest import kubeconfig, operator, simulator, world

__all__ = ["control_plane", "kubeconfig", "namespace", "operator", "simulator", "world"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite-testdata",
        action="store_true",
        help="write the statuses of this run into deploy/argocd/**/testdata",
    )


@pytest.fixture(scope="session")
def samples(request: pytest.FixtureRequest) -> Samples:
    return Samples(rewrite=bool(request.config.getoption("--rewrite-testdata")))
