"""Limits of the requests to one endpoint; on a virtual clock."""

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
    flows: Sequence[str] = string.ascii_letters,
) -> list[float]:
    """Start times of ``count`` requests that take a second; the flows send them in turn."""
    began: list[float] = []

    async def one(number: int) -> None:
        async with limiters.of(origin, flows[number % len(flows)]):
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    await asyncio.gather(*(one(number) for number in range(count)))
    return began


async def test_requests_in_flight_are_limited() -> None:
    began = await send(Limiters(Limits(at_once=10, per_second=1000)), 30)

    assert began == pytest.approx([0.0] * 10 + [1.0] * 10 + [2.0] * 10, abs=0.01)


async def test_requests_are_limited_per_second_after_a_burst() -> None:
    began = await send(Limiters(Limits(at_once=50, per_second=10)), 100)

    assert sum(at < 0.01 for at in began) == 50
    assert began[-1] == pytest.approx(5.0, abs=0.2)


async def test_pause_allows_only_one_burst() -> None:
    limiters = Limiters(Limits(at_once=5, per_second=1))
    await asyncio.sleep(3600)

    began = await send(limiters, 10)

    assert began[-1] - began[0] == pytest.approx(5, abs=0.2)


async def test_limits_are_separate_for_each_endpoint() -> None:
    limiters = Limiters(Limits(at_once=1, per_second=1000))
    slow = asyncio.create_task(send(limiters, 10, "https://slow.test"))
    await asyncio.sleep(0)

    (began,) = await send(limiters, 1, "https://other.test")

    assert began == 0
    slow.cancel()


async def test_namespaces_take_turns() -> None:
    """A single request does not wait behind hundreds of another namespace."""
    limiters = Limiters(Limits(at_once=10, per_second=100))
    crowd = asyncio.create_task(send(limiters, 500, flows=("crowd",)))
    await asyncio.sleep(0.5)
    now = asyncio.get_running_loop().time()

    (began,) = await send(limiters, 1, flows=("lone",))

    assert began <= now + 0.01
    crowd.cancel()


async def test_namespace_with_hanging_requests_leaves_seats_to_others() -> None:
    limiters = Limiters(Limits(at_once=32, per_second=1000))
    hung = [
        asyncio.create_task(hold(limiters, f"hung-{number % 10}"), name=str(number))
        for number in range(100)
    ]
    await asyncio.sleep(1)
    now = asyncio.get_running_loop().time()

    (began,) = await send(limiters, 1, flows=("lone",))

    assert began == now
    for task in hung:
        task.cancel()


async def hold(limiters: Limiters, flow: str) -> None:
    async with limiters.of(IMS, flow):
        await asyncio.Event().wait()


async def test_single_namespace_gets_three_quarters_of_the_seats() -> None:
    began = await send(Limiters(Limits(at_once=32, per_second=1000)), 48, flows=("a",))

    assert sum(at < 0.1 for at in began) == 24


@pytest.mark.parametrize("got_seat", [False, True], ids=["while it waits", "as it gets its seat"])
async def test_seat_of_a_cancelled_request_is_released(got_seat: bool) -> None:
    limiters = Limiters(Limits(at_once=1, per_second=1000))
    first = asyncio.create_task(hold(limiters, "a"))
    await asyncio.sleep(1)
    second = asyncio.create_task(hold(limiters, "b"))
    await asyncio.sleep(1)

    if got_seat:
        first.cancel()
        # The first request releases its seat when it wakes up, before the second one is cancelled.
        asyncio.get_running_loop().call_soon(second.cancel)
    else:
        second.cancel()
        first.cancel()
    began = await asyncio.wait_for(send(limiters, 1), 10)

    assert len(began) == 1
    assert second.cancelled()


async def test_request_that_is_not_sent_does_not_count() -> None:
    """Requests that wait for an endpoint whose circuit opens fail at once."""
    limiters = Limiters(Limits(at_once=10, per_second=10))
    crowd = [asyncio.create_task(leave_unused(limiters)) for _ in range(1000)]

    await asyncio.gather(*crowd)

    assert asyncio.get_running_loop().time() < 0.1
    began = await send(limiters, 10)
    assert sum(at < 0.2 for at in began) == 10


async def leave_unused(limiters: Limiters) -> None:
    async with limiters.of(IMS, "a") as seat:
        seat.unused()
        await asyncio.sleep(0)


TIMEOUT_S = 30.0


async def cloud(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/hangs":
        await asyncio.Event().wait()
    return httpx.Response(503)


def now() -> datetime:
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def http_client(client: httpx.AsyncClient, *, at_once: int, per_second: float) -> CloudHttpClient:
    return CloudHttpClient(
        client=client,
        timeout=timedelta(seconds=TIMEOUT_S),
        limiters=Limiters(Limits(at_once=at_once, per_second=per_second)),
        circuits=CircuitBreakers(now, lambda: 1.0),
    )


async def send_and_fail(http_client: CloudHttpClient, path: str) -> float:
    """Time at which the request failed."""
    with contextlib.suppress(CloudError):
        await http_client.send(http_client.client.build_request("GET", f"{IMS}{path}"))
    return asyncio.get_running_loop().time()


async def test_waiting_requests_fail_at_once_when_the_circuit_opens() -> None:
    """The rate limit does not delay them: none of them sends a request."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(cloud)) as client:
        limited = http_client(client, at_once=8, per_second=1)

        failed_at = await asyncio.gather(*(send_and_fail(limited, "/hangs") for _ in range(200)))

    assert max(failed_at) == pytest.approx(TIMEOUT_S, abs=0.1)


async def test_requests_fail_at_once_while_the_circuit_is_open() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(cloud)) as client:
        limited = http_client(client, at_once=8, per_second=100)
        hanging = [asyncio.create_task(send_and_fail(limited, "/hangs")) for _ in range(8)]
        await asyncio.sleep(1)
        for _ in range(THRESHOLD):
            await send_and_fail(replace(limited, flow="other"), "/fails")
        began = asyncio.get_running_loop().time()

        with pytest.raises(CircuitOpenError):
            await limited.send(client.build_request("GET", f"{IMS}/hangs"))

        assert asyncio.get_running_loop().time() == began
        for task in hanging:
            task.cancel()


async def test_request_is_signed_after_its_wait_and_a_refused_one_does_not_count() -> None:
    """A signature has the time of the request; a key may be refused during the wait."""
    signed_at: list[float] = []

    def sign(request: httpx.Request) -> None:
        signed_at.append(asyncio.get_running_loop().time())
        if request.url.path == "/blocked":
            raise CloudError("the key was refused")

    async def send_signed(limited: CloudHttpClient, path: str) -> None:
        with contextlib.suppress(CloudError):
            await limited.send(client.build_request("GET", f"{IMS}{path}"), sign)

    async with httpx.AsyncClient(transport=httpx.MockTransport(cloud)) as client:
        limited = http_client(client, at_once=1, per_second=1)
        paths = ["/a", "/b", *["/blocked"] * 50, "/c"]

        await asyncio.gather(*(send_signed(limited, path) for path in paths))

    assert [signed_at[0], signed_at[1], signed_at[-1]] == pytest.approx([0, 1, 2], abs=0.01)
    assert len(signed_at) == len(paths)
