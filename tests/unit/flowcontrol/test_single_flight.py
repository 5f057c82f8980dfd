"""The cache that loads each value once for all that wait for it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from image_share_operator.flowcontrol.single_flight import SingleFlightCache

pytestmark = pytest.mark.looptime
VALID = timedelta(seconds=10)


class Loader:
    """Counts loads, each of which takes a second."""

    def __init__(self) -> None:
        self.loads = 0
        self.error: Exception | None = None

    async def load(self) -> tuple[int, timedelta]:
        await asyncio.sleep(1)
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.loads, VALID


def now() -> datetime:
    return datetime.fromtimestamp(asyncio.get_running_loop().time(), UTC)


async def test_value_is_loaded_once_for_all_waiters_and_again_after_its_time() -> None:
    cache, loader = SingleFlightCache[str, int](now), Loader()

    first = await asyncio.gather(*(cache.get("a", loader.load) for _ in range(5)))
    await asyncio.sleep(VALID.total_seconds())

    assert first == [1] * 5
    assert await cache.get("a", loader.load) == 2


async def test_failed_load_is_not_cached() -> None:
    cache, loader = SingleFlightCache[str, int](now), Loader()
    loader.error = RuntimeError("down")
    with pytest.raises(RuntimeError):
        await cache.get("a", loader.load)
    loader.error = None

    assert await cache.get("a", loader.load) == 2


async def test_least_recently_used_value_is_evicted() -> None:
    cache, loader = SingleFlightCache[str, int](now, max_values=2), Loader()
    for key in ("a", "b", "a", "c", "a"):
        await cache.get(key, loader.load)

    assert loader.loads == 3
    assert await cache.get("b", loader.load) == 4
