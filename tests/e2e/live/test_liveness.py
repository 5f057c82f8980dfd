"""What the probes of a blocked process return: kubelet restarts it then."""

import os
import signal
import time

from e2e.conftest import RESOURCES
from e2e.live import blockable, probes
from e2e.live.blockable import BLOCKS, PAUSE_S, PAUSES, STUCK_S
from e2e.live.probes import Told
from e2e.live.programs import operator_fixture
from e2e.live.world import PUT, World
from envtest import eventually

BEAT_S = 2.0
"""The last sign of life may be a second older than the block; as much for the timer."""


operator = operator_fixture("function", has_port=True, program=(blockable.__file__,))


def healthy(port: int) -> bool | None:
    return probes.ask(port, "/healthz") == Told(200, "ok\n") or None


def test_probe_gets_no_answer_from_a_loop_that_is_blocked(world: World, port: int) -> None:
    world.accept()
    eventually(lambda: healthy(port))

    os.kill(world.operator.pid, signal.SIGUSR1)

    eventually(lambda: True if probes.ask(port, "/healthz") is None else None)
    assert [probes.ask(port, "/healthz") for _ in range(3)] == [None] * 3


def test_probe_reports_a_watch_whose_loop_is_blocked(world: World, port: int) -> None:
    """Reconciles continue, and no new events arrive: nothing else would report it."""
    world.accept()
    eventually(lambda: probes.ask(port, "/readyz") == Told(200, "ok\n") or None)
    http, namespace = world.control_plane.http, world.control_plane.create_namespace(BLOCKS)
    path = RESOURCES.format(namespace=namespace)

    http.post(path, json={**world.manifest, "metadata": {"name": "web"}}).raise_for_status()
    began = time.monotonic()
    try:
        dead = eventually(lambda: unhealthy(port))
    finally:
        http.delete(f"{path}/web").raise_for_status()

    assert dead.status == 503
    assert dead.text.startswith("the watch loop has been blocked for ")
    assert time.monotonic() - began > STUCK_S - BEAT_S


def unhealthy(port: int) -> Told | None:
    told = probes.ask(port, "/healthz")
    return None if told is None or told.status == 200 else told


def test_loop_that_is_blocked_for_5_s_loses_nothing(world: World, port: int) -> None:
    """As on a node without free CPU: shorter than any deadline of the operator or the kubelet."""
    world.accept()
    eventually(lambda: healthy(port))

    os.kill(world.operator.pid, signal.SIGUSR2)
    eventually(lambda: True if probes.ask(port, "/healthz") is None else None)
    began = time.monotonic()
    for number in range(3):
        world.apply([world.image()], name=f"later-{number}")
    world.edit(images=[world.image()])

    for name in ("web", "later-0", "later-1", "later-2"):
        world.wait_for("Accepted", name=name)
    assert time.monotonic() - began > PAUSE_S / 2
    assert healthy(port)
    assert world.operator.exit_code is None
    assert world.calls(PUT) <= 1 + 4
    assert "Traceback" not in world.operator.log


def test_watch_that_is_blocked_for_5_s_loses_nothing(world: World, port: int) -> None:
    world.accept()
    namespace = world.control_plane.create_namespace(PAUSES)
    path = RESOURCES.format(namespace=namespace)
    http = world.control_plane.http

    http.post(path, json={**world.manifest, "metadata": {"name": "web"}}).raise_for_status()
    try:
        world.apply([world.image()], name="later")
        began = time.monotonic()
        world.wait_for("Accepted", name="later")
    finally:
        http.delete(f"{path}/web").raise_for_status()

    assert time.monotonic() - began > PAUSE_S / 2
    assert healthy(port)
    assert "watch ended" not in world.operator.log
