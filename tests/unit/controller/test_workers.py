"""How work ends: told to stop, or because nothing begins any more; on a virtual clock."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from image_share_operator.api.types import Key
from image_share_operator.controller.workers import Shutdown, Workers
from image_share_operator.controller.workqueue import WorkQueue

pytestmark = pytest.mark.looptime
KEYS = [Key("demo", f"web-{number}") for number in range(3)]


class BrokenQueue(WorkQueue):
    """Gives one key, then breaks."""

    async def get(self) -> Key:
        if self.busy:
            raise RuntimeError("the queue is broken")
        return await super().get()


class Stage:
    """Passes that wait for an answer of the cloud, and what is done to them at the end."""

    def __init__(self) -> None:
        self.queue = WorkQueue()
        self.workers = Workers(self.queue, self.reconcile, most=10)
        self.stop = asyncio.Event()
        self.answered = asyncio.Event()
        self.answer_lost = asyncio.Event()
        self.writing_s = 0.1
        self.told: list[str] = []

    async def reconcile(self, key: Key) -> timedelta | None:
        assert key in KEYS
        self.told.append("began")
        try:
            waits = [asyncio.create_task(one.wait()) for one in (self.answered, self.answer_lost)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.sleep(self.writing_s)
        except asyncio.CancelledError:
            self.told.append("cut off")
            raise
        self.told.append("answered" if self.answered.is_set() else "marked")
        return timedelta()

    def close(self) -> None:
        self.told.append("closed")

    def abort(self) -> None:
        self.told.append("cut")
        self.answer_lost.set()

    async def save(self) -> None:
        self.told.append("saved")

    @contextlib.asynccontextmanager
    async def working(self, keys: int = 1) -> AsyncGenerator["asyncio.Task[None]"]:
        """Run with so many passes in hand; told to stop at the end, and waited for."""
        running = asyncio.create_task(
            self.workers.run(self.stop, Shutdown(writes=self, save=self.save))
        )
        for key in KEYS[:keys]:
            self.queue.add(key)
        await asyncio.sleep(1)
        assert self.told == ["began"] * keys
        self.told.clear()
        yield running
        self.stop.set()
        await running


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_told_to_stop_with_nothing_in_hand_ends_at_once() -> None:
    stage = Stage()
    async with stage.working(0):
        told = now()

    assert now() == told
    assert stage.told == ["closed", "cut", "saved"]


async def test_answer_that_comes_soon_is_waited_for() -> None:
    stage = Stage()
    async with stage.working():
        asyncio.get_running_loop().call_later(0.5, stage.answered.set)

    assert stage.told == ["closed", "answered", "cut", "saved"]


async def test_write_that_is_not_answered_is_put_on_record() -> None:
    stage = Stage()
    async with stage.working(3):
        told = now()

    assert stage.told == ["closed", "cut", *["marked"] * 3, "saved"]
    assert now() - told == pytest.approx(0.9)


async def test_what_can_not_be_put_on_record_in_time_holds_nothing_up() -> None:
    stage = Stage()
    stage.writing_s = 60
    async with stage.working(2):
        told = now()

    assert stage.told == ["closed", "cut", "cut off", "cut off"]
    assert now() - told == pytest.approx(1.6)


async def test_no_pass_begins_after_the_word_to_stop() -> None:
    stage = Stage()
    async with stage.working():
        stage.stop.set()
        await asyncio.sleep(0.1)
        stage.queue.add(KEYS[2])

    assert "began" not in stage.told


async def test_reconcile_that_fails_with_a_bug_is_repeated_with_backoff() -> None:
    stage = Stage()
    began: list[float] = []

    async def fail(key: Key) -> None:
        del key
        began.append(now())
        raise ZeroDivisionError

    workers = Workers(stage.queue, fail, most=10)
    running = asyncio.create_task(workers.run(stage.stop))
    stage.queue.add(KEYS[0])
    await asyncio.sleep(60)
    stage.stop.set()
    await running

    waits = [later - earlier for earlier, later in itertools.pairwise(began)]
    assert 3 <= len(waits) <= 10
    assert waits[-1] > waits[0]


async def test_end_of_the_dispatcher_is_the_end_of_all() -> None:
    """Nothing would be served any more, without a signal."""
    stage = Stage()
    queue = BrokenQueue()
    queue.add(KEYS[0])
    workers = Workers(queue, stage.reconcile, most=10)

    with pytest.raises(RuntimeError, match="the queue is broken"):
        await workers.run(stage.stop, Shutdown(writes=stage, save=stage.save))

    assert now() < 1
