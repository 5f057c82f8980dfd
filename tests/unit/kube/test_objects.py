"""Calls of reconciles: their concurrency limit and the fairness between namespaces."""

import asyncio
from typing import Any, cast

import pytest

from image_share_operator.api.errors import LostLeadError
from image_share_operator.api.types import Key
from image_share_operator.kube.client import POOL_SIZE, ApiServer
from image_share_operator.kube.objects import MAX_CONCURRENT, ObjectClient

pytestmark = pytest.mark.looptime
CALL_S = 0.1


class SlowApiServer:
    """Responds to each call after ``CALL_S``."""

    def __init__(self) -> None:
        self.running = self.max_running = self.calls = 0
        self.paths: list[str] = []

    async def call(self, verb: str, path: str, **_: Any) -> Any:
        self.calls += 1
        self.paths.append(path)
        self.running += 1
        self.max_running = max(self.max_running, self.running)
        await asyncio.sleep(CALL_S)
        self.running -= 1
        return {"metadata": {"name": path, "verb": verb}}


async def write(kube: ObjectClient, namespace: str = "crowd") -> float:
    await kube.write_status(Key(namespace, "web"), 1, {})
    return asyncio.get_running_loop().time()


async def test_concurrent_calls_leave_connections_for_the_lease() -> None:
    api = SlowApiServer()
    kube = ObjectClient(cast("ApiServer", api))

    await asyncio.gather(*(write(kube, f"ns-{number % 50}") for number in range(500)))

    assert api.calls == 500
    assert api.max_running <= MAX_CONCURRENT < POOL_SIZE


async def test_status_write_requests_no_field_validation() -> None:
    """By default the API server parses a body twice, to warn about unknown fields."""
    api = SlowApiServer()

    await write(ObjectClient(cast("ApiServer", api)))

    assert "fieldValidation=Ignore" in api.paths[0]


async def test_many_writes_in_one_namespace_do_not_delay_another() -> None:
    """One response of the cloud can complete hundreds of reconciles of one namespace."""
    kube = ObjectClient(cast("ApiServer", SlowApiServer()))
    crowd = [asyncio.create_task(write(kube)) for _ in range(1000)]
    await asyncio.sleep(CALL_S / 2)

    began = asyncio.get_running_loop().time()
    assert await write(kube, "lone") - began <= 2 * CALL_S
    assert sum(task.done() for task in crowd) < 100
    await asyncio.gather(*crowd)


async def test_waiting_write_is_not_sent_when_leadership_is_lost() -> None:
    lost = False

    def may_write() -> None:
        if lost:
            raise LostLeadError("lost")

    api = SlowApiServer()
    kube = ObjectClient(cast("ApiServer", api), may_write=may_write)
    writes = [asyncio.create_task(write(kube)) for _ in range(MAX_CONCURRENT + 1)]
    await asyncio.sleep(CALL_S / 2)
    lost = True

    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results[-1], LostLeadError)
    assert api.calls < len(writes)
    lost = False
    assert await write(kube)
