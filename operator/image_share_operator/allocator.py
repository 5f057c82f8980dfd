"""Tells the collector and the allocator how this process uses memory."""

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

GC_THRESHOLDS = (100_000, 0, 75)
"""Objects are kept for long and hold no cycles: the collector would walk over all of them again
and again, for nothing. With the usual thresholds it takes 40 % of the operator's own CPU time
(`tests/perf/growth.py`), with a first one of 10,000 it is 20 %, with these 7 %, and the more
objects there are, the more of it. Each second collection takes the middle generation along: half of
what stays is walked over once, not twice. What it finds are views that kopf makes of each event, 30
small things each time."""

M_MMAP_THRESHOLD = -3
"""From malloc.h of glibc."""
LARGE = 128 * 1024
"""Bytes. What is larger, such as a page of a list, is given back to the system when it is freed.
glibc begins so, but raises this to 32 MB by what it sees, and such holes are never filled again:
5 MB after a flood of 10,000 objects."""
TRIM_S = 10.0
"""Between two times that young garbage is collected, which nothing else does when nothing happens,
and that smaller holes are given back: 12 MB after that flood. The latter takes 1 to 20 ms while
much happens, less than one when nothing does."""
YOUNG = 1
"""The generations that are collected then: the oldest may hold all objects."""


def save() -> None:
    """Set both up; what exists by now stays for good."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


class HeapTrimmer:
    """Frees what nobody needs and gives it back, again and again.

    Args:
        trim: ``None`` for glibc's. Other allocators do it by themselves, or not at all.
    """

    def __init__(self, trim: Callable[[], object] | None = None) -> None:
        self._trim = trim or _trim_of_glibc()

    async def run(self) -> None:
        """Go on until cancelled."""
        while self._trim is not None:
            await asyncio.sleep(TRIM_S)
            gc.collect(YOUNG)
            await asyncio.to_thread(self._trim)


def _trim_of_glibc() -> Callable[[], object] | None:
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda: found(0)
