"""SIGTERM to the operator as PID 1 of a container, at any time after its start."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.live.test_replicas import LEADS, LEASES
from envtest import ROOT, SYSTEM, ControlPlane, eventually

PROGRAMS = Path(sys.executable).parent
ENTRYPOINT = json.loads(
    re.findall(r"^ENTRYPOINT (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
)
"""The program of the image: the kernel sends PID 1 no signal that it does not handle."""
UNSHARE = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
UNSHARE += ["--pid", "--fork", "--kill-child"]
END_S = 20.0
"""kubelet sends SIGKILL after 30 s."""

can_unshare = shutil.which("unshare") is not None and (
    subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
)
pytestmark = pytest.mark.skipif(not can_unshare, reason="needs a PID namespace")


class Container:
    """The operator as PID 1 of its own PID namespace."""

    def __init__(self, kubeconfig: Path, log: Path, lease: str) -> None:
        self._log = log
        *init, program = ENTRYPOINT
        assert program == "image-share-operator"
        with log.open("w") as file:
            self._unshare = subprocess.Popen(
                [*UNSHARE, *init, sys.executable, "-m", "image_share_operator"],
                stderr=file,
                env={
                    "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
                    "PYTHONPATH": str(ROOT / "operator"),
                    "KUBECONFIG": str(kubeconfig),
                    "ISA_LEADER_ELECTION": "true",
                    "ISA_LEASE_NAMESPACE": SYSTEM,
                    "ISA_LEASE_NAME": lease,
                },
            )

    def _init(self) -> int | None:
        """The PID of the namespace's PID 1, once it handles SIGTERM.

        Before, the kernel drops a SIGTERM for it, and no runtime would send one: a container
        that is not running yet is not terminated.
        """
        number = self._unshare.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        if not children:
            return None
        status = Path(f"/proc/{children[0]}/status").read_text()
        if ENTRYPOINT[0] not in status.splitlines()[0]:  # not begun: unshare blocks SIGTERM too
            return None
        masks = re.findall(r"^Sig(?:Blk|Cgt):\s*(\w+)$", status, re.MULTILINE)
        handled = any(int(mask, 16) >> (signal.SIGTERM - 1) & 1 for mask in masks)
        return int(children[0]) if handled else None

    @property
    def log(self) -> str:
        return self._log.read_text()

    def terminate(self) -> int:
        """Send SIGTERM; return the exit code."""
        os.kill(eventually(self._init), signal.SIGTERM)
        return self._unshare.wait(END_S)

    def kill(self) -> None:
        self._unshare.kill()
        self._unshare.wait()


@pytest.fixture
def container(kubeconfig: Path, tmp_path: Path, namespace: str) -> Iterator[Container]:
    started = Container(kubeconfig, tmp_path / "log", namespace)
    yield started
    started.kill()


def holder(control_plane: ControlPlane, lease: str) -> str:
    """The holder of the Lease; empty when there is none, or no Lease."""
    found = control_plane.http.get(f"{LEASES}/{lease}")
    return "" if found.status_code == 404 else found.json()["spec"].get("holderIdentity", "")


@pytest.mark.parametrize("delay_s", [0, 0.2, 0.5, 1, 3])
def test_sigterm_after_the_start_ends_the_pod_without_a_lease(
    container: Container, control_plane: ControlPlane, namespace: str, delay_s: float
) -> None:
    time.sleep(delay_s)

    code = container.terminate()

    assert code in (0, 128 + signal.SIGTERM)
    assert holder(control_plane, namespace) == ""
    assert "Traceback" not in container.log


def test_sigterm_to_the_leader_releases_the_lease(
    container: Container, control_plane: ControlPlane, namespace: str
) -> None:
    eventually(lambda: LEADS in container.log or None)
    before = holder(control_plane, namespace)

    code = container.terminate()

    assert code == 0
    assert (before != "", holder(control_plane, namespace)) == (True, "")
