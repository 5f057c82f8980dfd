"""The probes on a real port."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter

from image_share_operator.telemetry import probes


class Health:
    def __init__(self) -> None:
        self.dead: str | None = None
        self.not_ready: str | None = None

    def why_dead(self) -> str | None:
        return self.dead

    def why_not_ready(self) -> str | None:
        return self.not_ready


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def client_of(port: socket.socket, timeout_s: float = 30.0) -> httpx.AsyncClient:
    url = f"http://127.0.0.1:{port.getsockname()[1]}"
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=timeout_s)


async def test_probes_say_why(port: socket.socket) -> None:
    health, registry = Health(), CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    async with (
        probes.serving(port, registry, health, ready_wait_s=0),
        client_of(port) as client,
    ):
        assert (await client.get("/healthz")).text == "ok\n"
        health.not_ready = "the first list is not complete"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the first list is not complete\n")
        health.dead = "the watch loop has been blocked for 61 s"
        assert (await client.get("/healthz")).status_code == 503
        assert "things_total 1.0" in (await client.get("/metrics")).text
        assert (await client.get("/other")).status_code == 404


async def test_probe_before_the_start_waits_for_the_response(port: socket.socket) -> None:
    async with client_of(port) as client:
        asked = asyncio.create_task(client.get("/healthz"))
        with pytest.raises(TimeoutError):  # connected, no response
            await asyncio.wait_for(asyncio.shield(asked), 0.2)
        async with probes.serving(port, CollectorRegistry(), Health()):
            assert (await asked).status_code == 200


async def test_readyz_waits_until_the_replica_is_ready(port: socket.socket) -> None:
    health = Health()
    health.not_ready = "the watch is lost"
    async with (
        probes.serving(port, CollectorRegistry(), health, ready_wait_s=60),
        client_of(port) as client,
    ):
        asked = asyncio.create_task(client.get("/readyz"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(asked), 0.2)
        health.not_ready = None
        assert (await asked).status_code == 200


async def test_no_port_serves_nothing() -> None:
    async with probes.serving(None, CollectorRegistry(), Health()):
        pass


async def test_loop_that_is_stuck_does_not_answer(port: socket.socket) -> None:
    outcome: list[object] = []

    def ask() -> None:
        try:
            number = port.getsockname()[1]
            outcome.append(httpx.get(f"http://127.0.0.1:{number}/healthz", timeout=0.3))
        except httpx.TimeoutException as exc:
            outcome.append(exc)

    async with probes.serving(port, CollectorRegistry(), Health()):
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()  # the fault: the loop is stuck until the client gives up
        await asyncio.sleep(0.1)  # the server sees that its client is gone

    assert isinstance(outcome[0], httpx.TimeoutException)
