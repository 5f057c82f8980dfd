"""Writes to the cloud that are under way when the process is told to stop."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from image_share_operator.api.errors import LostLeadError, OutcomeUnknownError
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.inflight_writes import InflightWrites
from image_share_operator.flowcontrol.limiter import Limiters, Limits

pytestmark = pytest.mark.looptime
URL = "https://ims.test/v1/cloudimages/members"


class Cloud:
    """Answers after a while; knows what arrived."""

    def __init__(self, takes_s: float = 60) -> None:
        self.takes_s = takes_s
        self.arrived: list[str] = []
        self.writes = InflightWrites()
        self.caller = CloudHttpClient(
            client=httpx.AsyncClient(transport=httpx.MockTransport(self.answer)),
            timeout=timedelta(seconds=30),
            limiters=Limiters(Limits(at_once=1, per_second=1000)),
            writes=self.writes,
        )

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.arrived.append(request.method)
        await asyncio.sleep(self.takes_s)
        return httpx.Response(200, json={"job_id": "j"})

    async def sent(self, method: str = "PUT") -> "asyncio.Task[httpx.Response]":
        task = asyncio.create_task(self.caller.send(httpx.Request(method, URL)))
        await asyncio.sleep(0.1)
        return task


async def test_write_under_way_loses_its_answer_when_it_is_cut() -> None:
    cloud = Cloud()
    put = await cloud.sent()

    cloud.writes.close()
    await asyncio.sleep(1)
    assert not put.done()
    cloud.writes.cut()

    with pytest.raises(OutcomeUnknownError):
        await put
    assert asyncio.get_running_loop().time() < 2


async def test_write_that_waits_for_its_turn_is_not_sent() -> None:
    """It would arrive after the hand-over, and nobody would know."""
    cloud = Cloud(takes_s=0.5)
    first, second = await cloud.sent(), await cloud.sent()

    cloud.writes.close()

    assert (await first).status_code == 200
    with pytest.raises(LostLeadError, match="told to stop"):
        await second
    assert cloud.arrived == ["PUT"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_question_under_way_is_not_cut(method: str) -> None:
    cloud = Cloud(takes_s=2)
    asked = await cloud.sent(method)

    cloud.writes.cut()

    assert (await asked).status_code == 200


async def test_write_that_ended_is_not_cut_again() -> None:
    cloud = Cloud(takes_s=0)
    await (await cloud.sent())

    cloud.writes.cut()
    await asyncio.sleep(0.1)

    assert cloud.arrived == ["PUT"]
