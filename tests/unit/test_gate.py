"""How much may go to one endpoint; on a virtual clock."""

import asyncio

import pytest

from image_share_operator.cloud.gate import Gates, Limits

pytestmark = pytest.mark.looptime


async def send(gates: Gates, count: int, origin: str = "https://ims.test") -> list[float]:
    """When each of ``count`` requests of a second began."""
    began: list[float] = []

    async def one() -> None:
        async with gates.of(origin):
            began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(1)

    await asyncio.gather(*(one() for _ in range(count)))
    return began


async def test_no_more_requests_at_once_than_allowed() -> None:
    began = await send(Gates(Limits(at_once=10, per_second=1000)), 30)

    assert began == pytest.approx([0.0] * 10 + [1.0] * 10 + [2.0] * 10, abs=0.01)


async def test_requests_are_paced_after_a_burst() -> None:
    began = await send(Gates(Limits(at_once=50, per_second=10)), 100)

    assert sum(at < 0.01 for at in began) == 50
    assert began[-1] == pytest.approx(5.0, abs=0.2)


async def test_pause_does_not_save_up_more_than_one_burst() -> None:
    gates = Gates(Limits(at_once=5, per_second=1))
    await asyncio.sleep(3600)

    began = await send(gates, 10)

    assert began[-1] - began[0] == pytest.approx(5, abs=0.2)


async def test_endpoints_do_not_wait_for_each_other() -> None:
    gates = Gates(Limits(at_once=1, per_second=1000))
    slow = asyncio.create_task(send(gates, 10, "https://slow.test"))
    await asyncio.sleep(0)

    (began,) = await send(gates, 1, "https://other.test")

    assert began == 0
    slow.cancel()
