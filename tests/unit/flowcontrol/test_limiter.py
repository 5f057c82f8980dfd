"""How much may go to one endpoint; on a virtual clock."""

import asyncio
import contextlib
import string
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from drive import START

from image_share_operator.api.errors import CloudError
from image_share_operator.cloud.http.circuit_breaker import (
    THRESHOLD,
    CircuitBreakers,
    CircuitOpenError,
)
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.flowcontrol.limiter import Limiters, Limits

pytestmark = pytest.mark.looptime


IMS = "https://ims.test"


async def send(
    limiters: Limiters,
    count: int,
    origin: str = IMS,
    sessions: Sequence[str] = string.ascii_letters,
) -> list[float]:
    """When each of ``count`` requests of a second began; the tenants send them in turn."""
    began: list[float] = []

    async def one(number: int) -> None:
        async with limiters.of(origin, sessions[number % len(sessions)]):
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    await asyncio.gather(*(one(number) for number in range(count)))
    return began


async def test_no_more_requests_at_once_than_allowed() -> None:
    began = await send(Limiters(Limits(at_once=10, per_second=1000)), 30)

    assert began == pytest.approx([0.0] * 10 + [1.0] * 10 + [2.0] * 10, abs=0.01)


async def test_requests_are_paced_after_a_burst() -> None:
    began = await send(Limiters(Limits(at_once=50, per_second=10)), 100)

    assert sum(at < 0.01 for at in began) == 50
    assert began[-1] == pytest.approx(5.0, abs=0.2)


async def test_pause_does_not_save_up_more_than_one_burst() -> None:
    limiters = Limiters(Limits(at_once=5, per_second=1))
    await asyncio.sleep(3600)

    began = await send(limiters, 10)

    assert began[-1] - began[0] == pytest.approx(5, abs=0.2)


async def test_endpoints_do_not_wait_for_each_other() -> None:
    limiters = Limiters(Limits(at_once=1, per_second=1000))
    slow = asyncio.create_task(send(limiters, 10, "https://slow.test"))
    await asyncio.sleep(0)

    (began,) = await send(limiters, 1, "https://other.test")

    assert began == 0
    slow.cancel()


async def test_tenants_take_turns() -> None:
    """One request of another does not wait behind hundreds."""
    limiters = Limiters(Limits(at_once=10, per_second=100))
    crowd = asyncio.create_task(send(limiters, 500, sessions=("crowd",)))
    await asyncio.sleep(0.5)
    now = asyncio.get_running_loop().time()

    (began,) = await send(limiters, 1, sessions=("lone",))

    assert began <= now + 0.01
    crowd.cancel()


async def test_tenant_whose_requests_hang_leaves_places_to_others() -> None:
    limiters = Limiters(Limits(at_once=32, per_second=1000))
    hung = [
        asyncio.create_task(hold(limiters, f"hung-{number % 10}"), name=str(number))
        for number in range(100)
    ]
    await asyncio.sleep(1)
    now = asyncio.get_running_loop().time()

    (began,) = await send(limiters, 1, sessions=("lone",))

    assert began == now
    for task in hung:
        task.cancel()


async def hold(limiters: Limiters, session: str) -> None:
    async with limiters.of(IMS, session):
        await asyncio.Event().wait()


async def test_tenant_alone_may_have_three_quarters_of_the_places() -> None:
    began = await send(Limiters(Limits(at_once=32, per_second=1000)), 48, sessions=("a",))

    assert sum(at < 0.1 for at in began) == 24


@pytest.mark.parametrize("let_in", [False, True], ids=["while it waits", "as it is let in"])
async def test_place_of_one_that_goes_away_is_free_again(let_in: bool) -> None:
    limiters = Limiters(Limits(at_once=1, per_second=1000))
    first = asyncio.create_task(hold(limiters, "a"))
    await asyncio.sleep(1)
    second = asyncio.create_task(hold(limiters, "b"))
    await asyncio.sleep(1)

    if let_in:
        first.cancel()
        # The first gives its place to the second when it wakes up; it does so before the second.
        asyncio.get_running_loop().call_soon(second.cancel)
    else:
        second.cancel()
        first.cancel()
    began = await asyncio.wait_for(send(limiters, 1), 10)

    assert len(began) == 1
    assert second.cancelled()


async def test_what_is_not_sent_does_not_count() -> None:
    """Thousands that wait at an endpoint that is given up are told at once."""
    limiters = Limiters(Limits(at_once=10, per_second=10))
    crowd = [asyncio.create_task(give_up(limiters)) for _ in range(1000)]

    await asyncio.gather(*crowd)

    assert asyncio.get_running_loop().time() < 0.1
    began = await send(limiters, 10)
    assert sum(at < 0.2 for at in began) == 10


async def give_up(limiters: Limiters) -> None:
    async with limiters.of(IMS, "a") as place:
        place.unused()
        await asyncio.sleep(0)


TIMEOUT_S = 30.0


async def cloud(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/hangs":
        await asyncio.Event().wait()
    return httpx.Response(503)


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def caller(client: httpx.AsyncClient, *, at_once: int, per_second: float) -> CloudHttpClient:
    return CloudHttpClient(
        client=client,
        timeout=timedelta(seconds=TIMEOUT_S),
        limiters=Limiters(Limits(at_once=at_once, per_second=per_second)),
        circuits=CircuitBreakers(now, lambda: 1.0),
    )


async def ask(caller: CloudHttpClient, path: str) -> float:
    """When it was known that there is no good answer."""
    with contextlib.suppress(CloudError):
        await caller.send(caller.client.build_request("GET", f"{IMS}{path}"))
    return asyncio.get_running_loop().time()


async def test_all_who_wait_at_an_endpoint_are_told_when_it_is_given_up() -> None:
    """They are not let through at the pace of requests: none of them sends one."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(cloud)) as client:
        made = caller(client, at_once=8, per_second=1)

        told = await asyncio.gather(*(ask(made, "/hangs") for _ in range(200)))

    assert max(told) == pytest.approx(TIMEOUT_S, abs=0.1)


async def test_nobody_waits_at_an_endpoint_that_is_left_alone() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(cloud)) as client:
        made = caller(client, at_once=8, per_second=100)
        hanging = [asyncio.create_task(ask(made, "/hangs")) for _ in range(8)]
        await asyncio.sleep(1)
        for _ in range(THRESHOLD):
            await ask(replace(made, flow="other"), "/fails")
        began = asyncio.get_running_loop().time()

        with pytest.raises(CircuitOpenError):
            await made.send(client.build_request("GET", f"{IMS}/hangs"))

        assert asyncio.get_running_loop().time() == began
        for task in hanging:
            task.cancel()
