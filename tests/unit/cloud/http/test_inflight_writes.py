"""Writes to the cloud that are in flight when the process stops."""

import asyncio
from dataclasses import replace

import httpx
import pytest

from fakes import FakeHttpCloud
from image_share_operator.api.errors import LostLeadError, OutcomeUnknownError
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.flowcontrol.limiter import Limiters, Limits

pytestmark = pytest.mark.looptime
URL = "https://ims.test/v1/cloudimages/members"


class Cloud(FakeHttpCloud):
    """Responds after ``takes_s``, to one request at a time."""

    def __init__(self, takes_s: float = 60) -> None:
        super().__init__(lambda _: httpx.Response(200), latency_s=takes_s)
        limiters = Limiters(Limits(at_once=1, per_second=1000))
        self.http_client = replace(self.http_client, limiters=limiters)
        self.writes = self.http_client.writes

    async def start(self, method: str = "PUT") -> "asyncio.Task[httpx.Response | Refusal]":
        task = asyncio.create_task(self.http_client.send(httpx.Request(method, URL)))
        await asyncio.sleep(0.1)
        return task


async def test_write_in_flight_has_an_unknown_outcome_when_aborted() -> None:
    cloud = Cloud()
    put = await cloud.start()

    cloud.writes.close()
    await asyncio.sleep(1)
    assert not put.done()
    cloud.writes.abort()

    with pytest.raises(OutcomeUnknownError):
        await put
    assert asyncio.get_running_loop().time() < 2


async def test_write_that_waits_for_a_seat_is_not_sent_after_close() -> None:
    """It would arrive while another replica is the leader, and no status would record it."""
    cloud = Cloud(takes_s=0.5)
    first, second = await cloud.start(), await cloud.start()

    cloud.writes.close()

    assert isinstance(await first, httpx.Response)
    with pytest.raises(LostLeadError, match="stopping"):
        await second
    assert len(cloud.calls) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_read_in_flight_is_not_aborted(method: str) -> None:
    cloud = Cloud(takes_s=2)
    read = await cloud.start(method)

    cloud.writes.abort()

    assert isinstance(await read, httpx.Response)


async def test_abort_ignores_writes_that_have_ended() -> None:
    cloud = Cloud(takes_s=0)
    await (await cloud.start())

    cloud.writes.abort()
    await asyncio.sleep(0.1)

    assert len(cloud.calls) == 1
