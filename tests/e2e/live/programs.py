"""Programs for `Operator`, beside the operator as it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from envtest import Operator

SHORT_WAITS = (str(Path(__file__).with_name("short_waits.py")),)


def operator_fixture(
    scope: Literal["function", "module"] = "module", *, has_port: bool = False, **options: Any
) -> Any:
    """The fixture ``operator``: a process for each module, or for each test that restarts it.

    Args:
        has_port: whether it serves probes and metrics at the fixture ``port``.
        options: of `Operator`.
    """

    @pytest.fixture(scope=scope)
    def operator(
        kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
    ) -> Iterator[Operator]:
        port = {"ISA_METRICS_PORT": str(request.getfixturevalue("port"))} if has_port else {}
        log = tmp_path_factory.mktemp("operator") / "log"
        process = Operator(kubeconfig, log, **port, **options)
        process.start()
        yield process
        process.kill() if scope == "function" else process.terminate()

    return operator
