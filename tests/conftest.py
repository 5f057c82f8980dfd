"""What holds for all tests."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def loop_of_nobody() -> Iterator[None]:
    """Give the main thread an event loop that is closed at the end.

    pytest-asyncio asks for the current loop before it makes its own; where there is none, asyncio
    makes one that nobody closes, and whichever test runs when it is collected is blamed.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()
