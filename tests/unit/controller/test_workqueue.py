"""One pass per key at a time, the earliest wish wins; on a virtual clock."""

import asyncio
from datetime import timedelta

import pytest
import uvloop

from image_share_operator.api.types import Key
from image_share_operator.controller.workqueue import WorkQueue

pytestmark = pytest.mark.looptime

A, B = Key("demo", "a"), Key("demo", "b")
MINUTE = timedelta(minutes=1)


def clock() -> float:
    return asyncio.get_running_loop().time()


async def test_queue_gives_a_key_when_it_is_due() -> None:
    queue = WorkQueue()
    queue.add(A, MINUTE)

    key = await queue.get()

    assert (key, clock()) == (A, 60)


async def test_waiting_counts_due_keys_and_the_age_of_the_first() -> None:
    queue = WorkQueue()
    assert queue.waiting() == (0, 0.0)
    queue.add(A)
    assert queue.waiting() == (1, 0.0)
    queue.add(B, MINUTE)

    await asyncio.sleep(30)

    assert queue.waiting() == (1, 30.0)


async def test_queue_gives_the_earlier_key_first() -> None:
    queue = WorkQueue()
    queue.add(A, 2 * MINUTE)
    queue.add(B, MINUTE)

    keys = [await queue.get(), await queue.get()]

    assert keys == [B, A]


async def test_queue_keeps_the_earliest_wish_for_a_key() -> None:
    queue = WorkQueue()
    queue.add(A, MINUTE)
    queue.add(A, timedelta(seconds=1))
    queue.add(A, 5 * MINUTE)

    await queue.get()
    queue.done(A, None)

    assert clock() == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 600)


async def test_queue_gives_a_key_once_however_often_it_is_added() -> None:
    queue = WorkQueue()
    for _ in range(5):
        queue.add(A)

    await queue.get()

    assert len(queue) == 0
    assert queue.busy == 1


async def test_queue_holds_a_busy_key_back_until_it_is_done() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()

    queue.add(A)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 60)
    queue.done(A, 5 * MINUTE)

    assert await queue.get() == A
    assert clock() == 60


async def test_queue_comes_back_when_the_pass_asked_for_it() -> None:
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.add(A, 9 * MINUTE)

    queue.done(A, MINUTE)

    assert await queue.get() == A
    assert clock() == 60


async def test_queue_does_not_come_back_for_a_forgotten_key() -> None:
    queue = WorkQueue()
    queue.add(A)
    queue.add(B)
    queue.forget(A)

    assert await queue.get() == B
    queue.add(B)
    queue.forget(B)
    queue.done(B, None)

    assert len(queue) == 0


async def test_queue_keeps_no_failures_of_forgotten_keys() -> None:
    queue = WorkQueue()
    for number in range(1000):
        queue.failed(Key("demo", f"web-{number}"))
        queue.forget(Key("demo", f"web-{number}"))

    assert queue.failing == 0
    assert queue.failed(Key("demo", "web-0")) == 1, "a new object of the name starts at zero"


async def test_success_ends_a_series_of_failures() -> None:
    queue, key = WorkQueue(), Key("demo", "web")

    counts = [queue.failed(key), queue.failed(key)]
    queue.succeeded(key)

    assert (counts, queue.failing, queue.failed(key)) == ([1, 2], 0, 1)


async def test_namespaces_take_turns() -> None:
    """One object of another does not wait behind five thousand."""
    queue = WorkQueue()
    for number in range(5000):
        queue.add(Key("crowd", f"web-{number}"))
    queue.add(Key("single", "web"))

    first = [(await queue.get()).namespace for _ in range(4)]

    assert first == ["crowd", "single", "crowd", "crowd"]


async def test_namespace_has_no_more_passes_at_once_than_its_share() -> None:
    queue = WorkQueue(share=2)
    crowd = [Key("crowd", f"web-{number}") for number in range(4)]
    for key in crowd:
        queue.add(key)
    taken = [await queue.get() for _ in range(2)]

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 60)
    queue.add(Key("single", "web"))
    assert await queue.get() == Key("single", "web")
    queue.done(taken[0], None)

    assert await queue.get() == crowd[2]


async def take_all(queue: WorkQueue) -> None:
    while True:
        await queue.get()


@pytest.mark.parametrize("hung", [1, 10, 100, 1000])
async def test_namespaces_that_give_nothing_back_never_have_all_passes(hung: int) -> None:
    """Their clouds hang; a namespace that has no pass under way gets one at once."""
    queue = WorkQueue(share=256, most=2048)
    for number in range(5000):
        queue.add(Key(f"hung-{number % hung}", f"web-{number}"))
    hanging = asyncio.create_task(take_all(queue))
    await asyncio.sleep(1)
    hanging.cancel()
    began = clock()

    queue.add(Key("single", "web"))

    assert await queue.get() == Key("single", "web")
    assert clock() == began


async def test_pass_that_ends_lets_those_begin_that_had_to_wait_for_it() -> None:
    queue = WorkQueue(share=4, most=4)
    crowd = [Key(f"crowd-{number % 2}", f"web-{number}") for number in range(8)]
    for key in crowd:
        queue.add(key)

    served: list[Key] = []
    while len(served) < len(crowd):
        key = await asyncio.wait_for(queue.get(), 1)
        served.append(key)
        queue.done(key, None)

    assert sorted(served) == sorted(crowd)


@pytest.mark.looptime(False)
def test_queue_works_on_the_loop_that_the_operator_has() -> None:
    """It makes no timer of less than a millisecond, and what it makes can't tell when it rings."""

    async def served() -> set[Key]:
        queue = WorkQueue()
        queue.add(A, timedelta(microseconds=400))
        queue.add(B, timedelta(microseconds=200))
        return {await queue.get(), await queue.get()}

    assert uvloop.run(served()) == {A, B}
