"""One HTTP exchange: bounded in time, and its failures turned into our errors."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
import httpx

from image_share_operator import metrics
from image_share_operator.cloud.circuit import Circuit, Circuits
from image_share_operator.cloud.gate import Gates, Limits
from image_share_operator.errors import OutcomeUnknownError, RetryableError

WRITES = frozenset({"PUT", "POST", "DELETE"})


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _always() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Sends requests.

    Attributes:
        timeout: the longest time that one exchange may take, from connecting to the last byte.
        gates: how much may go to each endpoint. Waiting there is not part of the exchange.
        circuits: which endpoints are being left alone.
        clients: gives the client that trusts one more certificate authority.
        may_write: raises when this process may not write any more; asked just before each write.
    """

    client: httpx.AsyncClient
    timeout: timedelta
    gates: Gates = field(default_factory=lambda: Gates(Limits(at_once=32, per_second=1000.0)))
    circuits: Circuits = field(default_factory=lambda: Circuits(_utc_now))
    clients: Callable[[str], httpx.AsyncClient] | None = None
    may_write: Callable[[], None] = _always

    def trusting(self, ca: str | None) -> "Caller":
        """The same, for endpoints whose certificates this authority signed (PEM)."""
        if ca is None or self.clients is None:
            return self
        return replace(self, client=self.clients(ca))

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send once and read the whole answer.

        Raises:
            OutcomeUnknownError: a write may have arrived, its answer did not.
            RetryableError: nothing was changed, and no answer came.
            LostLeadError: another replica is at work.
        """
        origin = f"{request.url.scheme}://{request.url.netloc.decode()}"
        async with self.gates.of(origin):
            return await self._exchange(request, self.circuits.of(origin))

    async def _exchange(self, request: httpx.Request, circuit: Circuit) -> httpx.Response:
        circuit.admit()
        code = "none"
        if request.method in WRITES:
            self.may_write()
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                response = await self.client.send(request)
            code = f"{response.status_code // 100}xx"
        except (TimeoutError, httpx.HTTPError) as exc:
            circuit.failed()
            raise _translated(request, exc) from exc
        except asyncio.CancelledError:
            circuit.gave_up()
            raise
        finally:
            route = request.extensions.get("route", "other")
            metrics.CLOUD_CALLS.labels(route, code).observe(time.perf_counter() - began)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            circuit.failed()
        else:
            circuit.succeeded()
        return response


def _translated(request: httpx.Request, exc: Exception) -> RetryableError:
    what = f"{request.method} {request.url.host}{request.url.path}"
    if isinstance(exc.__cause__, aiohttp.ClientConnectorCertificateError):
        return RetryableError(
            f"{what}: its certificate is not trusted; a private authority goes into the key "
            "ca.crt of the Secret"
        )
    if isinstance(exc.__cause__, aiohttp.ClientProxyConnectionError):
        return RetryableError(f"{what}: no connection through the proxy: {exc.__cause__.strerror}")
    if _never_sent(exc):
        return RetryableError(f"{what}: no connection")
    why = "no answer in time" if _timed_out(exc) else "the connection broke"
    kind = OutcomeUnknownError if request.method in WRITES else RetryableError
    return kind(f"{what}: {why}")


def _never_sent(exc: Exception) -> bool:
    """Whether not even a connection was made.

    The transport tells it by its cause alone: it maps this error to ``ConnectTimeout``, as it
    does connections that broke later.
    """
    return isinstance(exc.__cause__, aiohttp.ClientConnectorError)


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout)
