"""The calls that passes make: how many go to the API server together, and whose turn it is."""

import asyncio
from typing import Any, cast

import pytest

from image_share_operator.api.errors import LostLeadError
from image_share_operator.api.types import Key
from image_share_operator.kube.client import POOL, ApiServer
from image_share_operator.kube.objects import AT_ONCE, ObjectClient

pytestmark = pytest.mark.looptime
CALL_S = 0.1


class Api:
    """Takes its time for each call."""

    def __init__(self) -> None:
        self.under_way = self.most = self.calls = 0
        self.paths: list[str] = []

    async def call(self, verb: str, path: str, **_: Any) -> Any:
        self.calls += 1
        self.paths.append(path)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(CALL_S)
        self.under_way -= 1
        return {"metadata": {"name": path, "verb": verb}}


async def write(kube: ObjectClient, namespace: str = "crowd") -> float:
    await kube.write_status(Key(namespace, "web"), 1, {})
    return asyncio.get_running_loop().time()


async def test_connections_are_left_for_the_lease() -> None:
    api = Api()
    kube = ObjectClient(cast("ApiServer", api))

    await asyncio.gather(*(write(kube, f"ns-{number % 50}") for number in range(500)))

    assert api.calls == 500
    assert api.most <= AT_ONCE < POOL


async def test_status_write_is_not_parsed_twice() -> None:
    """That is what the API server does to warn of unknown fields, unless it is told not to."""
    api = Api()

    await write(ObjectClient(cast("ApiServer", api)))

    assert "fieldValidation=Ignore" in api.paths[0]


async def test_crowd_does_not_keep_another_namespace_waiting() -> None:
    """A list answers hundreds of passes of one namespace at once: all write then."""
    kube = ObjectClient(cast("ApiServer", Api()))
    crowd = [asyncio.create_task(write(kube)) for _ in range(1000)]
    await asyncio.sleep(CALL_S / 2)

    began = asyncio.get_running_loop().time()
    assert await write(kube, "lone") - began <= 2 * CALL_S
    assert sum(task.done() for task in crowd) < 100
    await asyncio.gather(*crowd)


async def test_write_that_waited_while_the_lead_was_lost_is_not_sent() -> None:
    lost = False

    def may_write() -> None:
        if lost:
            raise LostLeadError("lost")

    api = Api()
    kube = ObjectClient(cast("ApiServer", api), may_write=may_write)
    writes = [asyncio.create_task(write(kube)) for _ in range(AT_ONCE + 1)]
    await asyncio.sleep(CALL_S / 2)
    lost = True

    results = await asyncio.gather(*writes, return_exceptions=True)
    assert isinstance(results[-1], LostLeadError)
    assert api.calls < len(writes)
    lost = False
    assert await write(kube)
