"""A cache whose values are loaded once for all that wait for them. No clock of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

MAX_VALUES = 10_000
"""Cached values. A least recently used one that is evicted costs one more load."""


@dataclass(slots=True)
class _Slot(Generic[V]):
    """One value and until when it is valid, as a tuple; the lock makes all waiters share a load."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    loaded: tuple[V, datetime] | None = None


class SingleFlightCache(Generic[K, V]):
    """Values by key."""

    def __init__(self, now: Callable[[], datetime], max_values: int = MAX_VALUES) -> None:
        self._now = now
        self._slots = LRUCache[K, _Slot[V]](max_values)

    async def get(self, key: K, load: Callable[[], Awaitable[tuple[V, timedelta]]]) -> V:
        """Return the cached value, or load it.

        Args:
            load: returns the value and how long it is valid. An exception of it is raised to one
                caller; the next one loads again.
        """
        slot = self._slots.setdefault(key, _Slot[V]())
        async with slot.lock:
            if slot.loaded is None or self._now() >= slot.loaded[1]:
                value, valid_for = await load()
                slot.loaded = value, self._now() + valid_for
            return slot.loaded[0]

    def drop(self, key: K, value: V) -> None:
        """Forget this value, unless another one replaced it."""
        slot = self._slots.get(key)
        if slot is not None and slot.loaded is not None and slot.loaded[0] is value:
            slot.loaded = None
