"""How the process uses memory; in a process of its own where it stays so."""

import asyncio
import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest

from image_share_operator.allocator import TRIM_S, HeapTrimmer

OPERATOR = Path(__file__).parents[2] / "operator"

COUNT_OF_MAPPED = """
import ctypes
from image_share_operator import allocator

class Info(ctypes.Structure):  # mallinfo2(3)
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
if {saves}:
    allocator.save()
page = bytes(4_000_000)
del page  # glibc takes this as a sign that such sizes come and go
before = libc.mallinfo2().hblks
page = bytes(1_000_000)
print(libc.mallinfo2().hblks - before)
"""


HELD_AFTER_HOLES = """
from image_share_operator.allocator import HeapTrimmer

def held_mb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

before = held_mb()
texts = [b"x" * 100_000 for _ in range(500)]
last = b"x" * 100_000  # behind them: the heap can't end earlier
del texts
if {trims}:
    HeapTrimmer()._trim()
print(held_mb() - before)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="is about glibc")


def in_a_process(code: str) -> float:
    """What the code prints."""
    ended = subprocess.run(
        (sys.executable, "-c", code),
        env={"PYTHONPATH": str(OPERATOR)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return float(ended.stdout)


@linux
@pytest.mark.parametrize(("saves", "mapped"), [(True, 1), (False, 0)])
def test_large_buffers_leave_no_holes(saves: bool, mapped: int) -> None:
    """A page of a list is mapped by itself, so all of it goes back when it is freed."""
    assert in_a_process(COUNT_OF_MAPPED.format(saves=saves)) == mapped


@linux
def test_small_holes_are_given_back() -> None:
    assert in_a_process(HELD_AFTER_HOLES.format(trims=False)) > 40
    assert in_a_process(HELD_AFTER_HOLES.format(trims=True)) < 10


@pytest.mark.looptime
async def test_holes_are_given_back_again_and_again() -> None:
    trims: list[float] = []
    loop = asyncio.get_running_loop()
    running = asyncio.create_task(HeapTrimmer(lambda: trims.append(loop.time())).run())

    await asyncio.sleep(3.5 * TRIM_S)
    running.cancel()

    assert trims == [TRIM_S, 2 * TRIM_S, 3 * TRIM_S]


@pytest.mark.looptime
async def test_young_garbage_goes_also_when_nothing_happens() -> None:
    class Cycle:
        """Refers to itself."""

        def __init__(self) -> None:
            self.itself = self

    gc.disable()
    try:
        garbage = weakref.ref(Cycle())
        running = asyncio.create_task(HeapTrimmer(lambda: None).run())
        before = garbage() is not None
        await asyncio.sleep(1.5 * TRIM_S)
        after = garbage() is not None
        running.cancel()
    finally:
        gc.enable()

    assert (before, after) == (True, False)
