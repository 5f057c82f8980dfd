"""The handlers of kopf: the pace of its logins."""

import asyncio
from datetime import timedelta

import pytest

from image_share_operator.kube.watch.connection import Pace

pytestmark = pytest.mark.looptime


async def test_first_login_is_immediate_and_the_next_ones_wait() -> None:
    pace = Pace(timedelta(seconds=1))
    loop = asyncio.get_running_loop()
    began = loop.time()
    times: list[float] = []
    for _ in range(3):
        await pace.wait()
        times.append(loop.time() - began)

    assert times == pytest.approx([0, 1, 2], abs=0.01)


async def test_login_after_the_interval_is_immediate() -> None:
    pace = Pace(timedelta(seconds=1))
    loop = asyncio.get_running_loop()
    await pace.wait()
    await asyncio.sleep(3600)

    began = loop.time()
    await pace.wait()

    assert loop.time() - began < 0.01
