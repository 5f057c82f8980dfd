"""An operator that reaches the API server through a proxy which fails as told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.api_faults.proxied import REQUEST_TIMEOUT_S
from envtest import ControlPlane, Operator
from envtest.proxy import FaultyProxy


@pytest.fixture
def faulty(control_plane: ControlPlane) -> Iterator[FaultyProxy]:
    with FaultyProxy(control_plane.url, ca_file=control_plane.ca_file) as running:
        yield running
        running.clear()


@pytest.fixture
def operator(faulty: FaultyProxy, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    """An operator of the test's own behind the proxy; each test starts it when it is ready."""
    process = Operator(
        faulty.kubeconfig(kubeconfig, tmp_path / "kubeconfig"),
        tmp_path / "log",
        ISA_REQUEST_TIMEOUT_S=f"{REQUEST_TIMEOUT_S:g}",
    )
    yield process
    process.kill()
