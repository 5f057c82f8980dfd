"""What kubelet is told of a process that stands still: it restarts it then."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from e2e.conftest import RESOURCES
from e2e.live import blockable
from e2e.live.blockable import BLOCKS
from e2e.live.process import Operator, eventually
from e2e.live.world import World

STUCK_S = 60.0
"""After so long the loop of the watch is taken for stuck, and not before."""


@pytest.fixture
def operator(kubeconfig: Path, tmp_path: Path, port: int) -> Iterator[Operator]:
    process = Operator(
        kubeconfig,
        tmp_path / "log",
        program=(blockable.__file__,),
        ISA_METRICS_PORT=str(port),
    )
    process.start()
    yield process
    process.kill()


def asked(port: int, path: str = "/healthz") -> tuple[int, str] | None:
    """What a probe is told; ``None`` when nobody answers within kubelet's second."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False, timeout=1.0)
    except httpx.TransportError:
        return None
    return answer.status_code, answer.text


def trouble(port: int) -> tuple[int, str] | None:
    told = asked(port)
    return None if told is None or told[0] == httpx.codes.OK else told


def test_probe_gets_no_answer_from_a_loop_that_is_blocked(world: World, port: int) -> None:
    world.apply([world.image()])
    world.wait_for("Accepted")
    assert asked(port) == (200, "ok\n")

    os.kill(world.operator.pid, signal.SIGUSR1)

    eventually(lambda: True if asked(port) is None else None)
    assert [asked(port) for _ in range(3)] == [None] * 3


@pytest.mark.timeout(150)
def test_probe_is_told_of_a_watch_whose_loop_is_blocked(world: World, port: int) -> None:
    """Work goes on, and nothing new comes in: nobody else would notice."""
    world.apply([world.image()])
    world.wait_for("Accepted")
    eventually(lambda: asked(port, "/readyz") == (200, "ok\n") or None)
    http, namespace = world.control_plane.http, world.control_plane.create_namespace(BLOCKS)
    path = RESOURCES.format(namespace=namespace)

    http.post(path, json={**world.manifest, "metadata": {"name": "web"}}).raise_for_status()
    began = time.monotonic()
    try:
        dead = eventually(lambda: trouble(port), within_s=STUCK_S + 30)
    finally:
        http.delete(f"{path}/web").raise_for_status()

    assert dead[0] == 503
    assert dead[1].startswith("the watch loop has been blocked for ")
    assert time.monotonic() - began > STUCK_S - 5
