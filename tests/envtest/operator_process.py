"""The operator as a process of its own, under the chart's own rights."""

import os
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from envtest.control_plane import ControlPlane
from envtest.fork_server import ForkedServer, ForkServer
from envtest.processes import Server, eventually

ROOT = Path(__file__).parents[2]
FILES = ROOT / "deploy/helm/image-share-operator/files"
RULES = FILES / "clusterrole-rules.yaml"
LEASE_RULES = FILES / "lease-rules.yaml"
SYSTEM = "image-share-system"
ACCOUNT = "image-share-operator"
TAIL_LINES = 60
STARTED = "starting image-share-operator "
"""The first line of the log."""


def install_rights(control_plane: ControlPlane) -> Path:
    """Give the chart's rules to the chart's ServiceAccount; return its kubeconfig."""
    control_plane.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
            *_granted("ClusterRole", RULES),
            *_granted("Role", LEASE_RULES, namespace=SYSTEM),
        ]
    )
    return control_plane.service_account_kubeconfig(SYSTEM, ACCOUNT)


def _granted(kind: str, rules: Path, **where: str) -> list[dict[str, Any]]:
    """A role with these rules and its binding to the operator's ServiceAccount."""
    rbac = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": ACCOUNT, **where},
    }
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ACCOUNT}
    account = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}
    return [
        {**rbac, "kind": kind, "rules": yaml.safe_load(rules.read_text())},
        {**rbac, "kind": f"{kind}Binding", "roleRef": role, "subjects": [account]},
    ]


@cache
def fork_server() -> ForkServer:
    """Return the fork server of all operators of this test process."""
    return ForkServer("image_share_operator.process", path=[ROOT / "operator"])


class Operator:
    """The operator's process, started by fork. A restart keeps the log.

    Args:
        program: the arguments of `python`.
        env: settings, in addition to the environment of the tests.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        *,
        program: Sequence[str] = ("-m", "image_share_operator"),
        **env: str,
    ) -> None:
        self.log_file = log
        self.program = program
        self._server: Server | None = None
        self.ended_with: int | None = None
        """The exit code after `terminate`; negative when a signal ended it."""
        self.env = {
            "PYTHONPATH": str(ROOT / "operator"),
            "KUBECONFIG": str(kubeconfig),
            "ISA_LOG_LEVEL": "debug",
            "ISA_SECRET_POLL_S": "2",
            "ISA_ALLOW_INSECURE_ENDPOINTS": "true",
            **env,
        }

    @property
    def exit_code(self) -> int | None:
        """The exit code; ``None`` while it runs."""
        assert self._server is not None, "the operator was not started"
        return self._server.exit_code

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def pid(self) -> int:
        assert self._server is not None, "the operator is not running"
        return self._server.pid

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.splitlines()[-TAIL_LINES:])

    def start(self) -> None:
        """Start and wait until it says so."""
        before = self.log.count(STARTED)
        server = self._server = self._launch()

        def begun() -> bool | None:
            if self.log.count(STARTED) > before:
                return True
            server.require_running()
            return None

        try:
            eventually(begun)
        except BaseException:
            self.kill()  # or it would serve what the tests after this one make
            raise

    def _launch(self) -> Server:
        return ForkedServer(
            fork_server(),
            self.program,
            directory=self.log_file.parent,
            log=self.log_file,
            env={**os.environ, **self.env},
        )

    def kill(self) -> None:
        """``kill -9``: nothing is tidied up."""
        if self._server is not None:
            self._server.kill()
        self._server = None

    def terminate(self) -> float:
        """End it by SIGTERM; return the seconds that it took."""
        started = time.monotonic()
        if self._server is not None:
            self._server.stop()
            self.ended_with = self._server.exit_code
        self._server = None
        return time.monotonic() - started


class FreshOperator(Operator):
    """The operator in a new interpreter, as users start it. It costs 0.7 s of CPU time."""

    def command(self) -> list[str]:
        """What is run: a program by its full path, and its arguments."""
        settings = [f"{name}={value}" for name, value in self.env.items()]
        return ["/usr/bin/env", *settings, sys.executable, *self.program]

    def _launch(self) -> Server:
        return Server(self.command(), directory=self.log_file.parent, log=self.log_file)
