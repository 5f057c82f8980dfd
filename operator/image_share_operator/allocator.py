"""Configures the garbage collector and the memory allocator of the process."""

import asyncio
import contextlib
import ctypes
import gc
from collections.abc import Callable

GC_THRESHOLDS = (100_000, 0, 75)
"""Thresholds of the garbage collector, in allocations and collections.

The objects of the operator live long and have no cycles, so frequent collections find nothing. With
the default thresholds, the collector takes 40 % of the CPU time (`tests/perf/growth.py`). With
10,000 as the first threshold it takes 20 %, with these thresholds 7 %. The share grows with the
number of objects. Every second collection includes the middle generation, so that half of the
surviving objects are traversed once, not twice. The collector finds about 30 small views per event,
which kopf creates."""

M_MMAP_THRESHOLD = -3
"""Parameter number from malloc.h of glibc."""
LARGE = 128 * 1024
"""Size in bytes from which glibc returns freed memory to the system, such as a page of a list.

glibc starts with this value, but raises it up to 32 MB. This leaves unused holes: 5 MB after a
burst of 10,000 objects."""
TRIM_S = 10.0
"""Seconds between two trims.

A trim collects young garbage, which an idle process otherwise keeps, and returns free memory to the
system: 12 MB after a burst of 10,000 objects. It takes 1 to 20 ms under load, and less than 1 ms
when idle."""
YOUNG = 1
"""The generation up to which a trim collects. The oldest generation contains all objects."""


def save() -> None:
    """Configure collector and allocator. Existing objects are never collected."""
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


class HeapTrimmer:
    """Frees unused memory periodically.

    Args:
        trim: function that returns free memory to the system; ``None`` for that of glibc. With
            another allocator than glibc, no trim runs.
    """

    def __init__(self, trim: Callable[[], object] | None = None) -> None:
        self._trim = trim or _trim_of_glibc()

    async def run(self) -> None:
        """Run until cancelled."""
        while self._trim is not None:
            await asyncio.sleep(TRIM_S)
            gc.collect(YOUNG)
            await asyncio.to_thread(self._trim)


def _trim_of_glibc() -> Callable[[], object] | None:
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return None if found is None else lambda: found(0)
