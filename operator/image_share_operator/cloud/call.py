"""One HTTP exchange: bounded in time, and its failures turned into our errors."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import httpx

from image_share_operator.errors import OutcomeUnknownError, RetryableError

WRITES = frozenset({"PUT", "POST", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Sends requests; holds the client and the longest time that one exchange may take."""

    client: httpx.AsyncClient
    timeout: timedelta

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send once and read the whole answer.

        Raises:
            OutcomeUnknownError: a write may have arrived, its answer did not.
            RetryableError: nothing was changed, and no answer came.
        """
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                return await self.client.send(request)
        except (TimeoutError, httpx.HTTPError) as exc:
            if _never_sent(exc):
                raise RetryableError(f"{_what(request)}: no connection") from exc
            why = "no answer in time" if _timed_out(exc) else "the connection broke"
            kind = OutcomeUnknownError if request.method in WRITES else RetryableError
            raise kind(f"{_what(request)}: {why}") from exc


def _never_sent(exc: Exception) -> bool:
    """Whether not even a connection was made.

    The transport tells it by its cause alone: it maps this error to ``ConnectTimeout``, as it
    does connections that broke later.
    """
    return isinstance(exc.__cause__, aiohttp.ClientConnectorError)


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout)


def _what(request: httpx.Request) -> str:
    return f"{request.method} {request.url.host}{request.url.path}"
