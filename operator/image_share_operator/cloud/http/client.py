"""One HTTP exchange: bounded in time, told of, and its failures turned into our errors."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import aiohttp
import httpx

from image_share_operator.api.errors import CloudError, OutcomeUnknownError, RetryableError
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.ca_bundle import bundle
from image_share_operator.cloud.http.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakers,
    CircuitOpenError,
)
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of
from image_share_operator.cloud.http.error_mapping import no_url
from image_share_operator.cloud.http.inflight_writes import InflightWrites
from image_share_operator.cloud.http.payload import asked, error_of
from image_share_operator.cloud.http.size_limit import BodyTooLargeError
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.telemetry import metrics, tracing

log = logging.getLogger(__name__)

WRITES = frozenset({"PUT", "POST", "DELETE"})
CHANGES = WRITES - {"POST"}
"""What may take effect although its answer is lost. A POST is a login, which changes nothing."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _always() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudHttpClient:
    """Sends requests.

    Attributes:
        timeout: the longest time that one exchange may take, from connecting to the last byte.
        gates: how much may go to each endpoint. Waiting there is not part of the exchange.
        circuits: which endpoints are being left alone.
        clients: gives the client that trusts one more certificate authority.
        trust: tells that authority from others; empty for the system's alone.
        may_write: raises when this process may not write any more; asked just before each write.
        flow: the namespace, for fairness at the limiters.
        writes: which writes are under way.
    """

    client: httpx.AsyncClient
    timeout: timedelta
    limiters: Limiters = field(
        default_factory=lambda: Limiters(Limits(at_once=32, per_second=1000.0))
    )
    circuits: CircuitBreakers = field(default_factory=lambda: CircuitBreakers(_utc_now))
    clients: Callable[[str], httpx.AsyncClient] | None = None
    trust: str = ""
    may_write: Callable[[], None] = _always
    flow: str = ""
    writes: InflightWrites = field(default_factory=InflightWrites)

    def trusting(self, ca: str | None) -> "CloudHttpClient":
        """The same, for endpoints whose certificates this authority signed (PEM)."""
        if ca is None or self.clients is None:
            return self
        return replace(self, client=self.clients(ca), trust=bundle(ca).key)

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send once and read the whole answer.

        Raises:
            OutcomeUnknownError: a write may have arrived, its answer did not.
            RetryableError: nothing was changed, and no answer came.
            TerminalError: nothing was sent: the URL is none.
            LostLeadError: another replica is at work.
        """
        origin = f"{request.url.scheme}://{request.url.netloc.decode()}"
        circuit = self.circuits.of(origin, self.trust)
        circuit.check()  # no request waits for a seat at an endpoint whose circuit is open
        async with self.limiters.of(origin, self.flow) as seat:
            try:
                return await self._exchange(request, circuit)
            except CircuitOpenError:
                seat.unused()
                raise

    async def _exchange(self, request: httpx.Request, circuit: CircuitBreaker) -> httpx.Response:
        circuit.admit()
        if request.method in WRITES:
            self.may_write()
            self.writes.admit()
        exchange = _Exchange(request)
        with tracing.span(exchange.route, exchange.attributes) as span:
            try:
                async with asyncio.timeout(self.timeout.total_seconds()) as deadline:
                    changes = request.method in CHANGES
                    with self.writes.under_way(deadline) if changes else nullcontext():
                        response = await self.client.send(request)
            except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, UnicodeError) as exc:
                error, translated = _translated(request, exc)
                if error in OUTAGES:
                    circuit.failed()
                else:
                    circuit.gave_up()
                exchange.failed(error, translated, span)
                raise translated from exc
            except asyncio.CancelledError:
                circuit.gave_up()
                exchange.cancelled()
                raise
            exchange.answered(response, span)
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            circuit.failed()
        else:
            circuit.succeeded()
        return response


ROUTINE = frozenset({RefusalKind.IMAGES, RefusalKind.TOKEN, RefusalKind.MISMATCH})
"""What a question may be refused with every day: no such share, a token that has ended."""
UNANSWERED = ("certificate", "proxy", "connect", "timeout", "broken")
"""Words for why no answer came."""
OUTAGES = frozenset(UNANSWERED)
"""Those that speak against the endpoint; the rest is nothing that it did wrong."""
_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


def begin_counting() -> None:
    """Show errors that have not happened as zero: Prometheus sees no rise to the first one else."""
    for route in routes.ALL:
        for error in (*(kind.name.lower() for kind in RefusalKind), *UNANSWERED):
            metrics.CLOUD_ERRORS.labels(route, error)


class _Exchange:
    """Tells of one exchange: to the metrics, the log and the trace. No identifier in a label."""

    def __init__(self, request: httpx.Request) -> None:
        self.route: str = request.extensions.get("route", "other")
        self._request = request
        self._began = time.perf_counter()

    @property
    def attributes(self) -> dict[str, tracing.Value]:
        """Source: OpenTelemetry semantic conventions, "HTTP Client Spans"."""
        return {
            "http.request.method": self._request.method,
            "url.template": self.route.partition(" ")[2],
            "server.address": _host(self._request),
        }

    def answered(self, response: httpx.Response, span: tracing.Span) -> None:
        """Tell of an answer; every one of this cloud has an id that its support can look up."""
        took = self._measure(f"{response.status_code // 100}xx")
        span.set_attribute("http.response.status_code", response.status_code)
        request_id = response.headers.get("X-Request-Id", "")
        known = {"request_id": request_id} if _REQUEST_ID.fullmatch(request_id) else {}
        if known:
            span.set_attribute("http.response.header.x-request-id", request_id)
        if response.status_code < HTTPStatus.BAD_REQUEST:
            log.debug(
                "%s: HTTP %d in %.3f s", asked(response), response.status_code, took, extra=known
            )
            return
        code, _ = error_of(response)
        kind = kind_of(response.status_code, code)
        metrics.CLOUD_ERRORS.labels(self.route, kind.name.lower()).inc()
        span.set_attribute("error.type", kind.name.lower())
        usual = kind in ROUTINE and self._request.method not in WRITES
        log.log(
            logging.DEBUG if usual else logging.WARNING,
            "%s: HTTP %d%s in %.3f s",
            asked(response),
            response.status_code,
            f" {code}" if code else "",
            took,
            extra=known,
        )

    def failed(self, error: str, exc: Exception, span: tracing.Span) -> None:
        """Tell that no answer came."""
        took = self._measure("none")
        metrics.CLOUD_ERRORS.labels(self.route, error).inc()
        span.set_attribute("error.type", error)
        log.warning("%s, after %.3f s", exc, took)

    def cancelled(self) -> None:
        """Tell that nobody waits for the answer any more."""
        self._measure("none")

    def _measure(self, code: str) -> float:
        took = time.perf_counter() - self._began
        metrics.CLOUD_CALLS.labels(self.route, code).observe(took)
        return took


def _host(request: httpx.Request) -> str:
    """As it was written: what begins with ``xn--`` can't always be read."""
    return request.url.raw_host.decode("ascii")


def _translated(request: httpx.Request, exc: Exception) -> tuple[str, CloudError]:
    """What went wrong, as a word and as an error."""
    what = f"{request.method} {_host(request)}{request.url.path}"
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol | UnicodeError):
        return RefusalKind.INVALID.name.lower(), no_url(str(request.url))
    if isinstance(exc.__cause__, aiohttp.ClientConnectorCertificateError):
        return "certificate", RetryableError(
            f"{what}: its certificate is not trusted; a private authority goes into the key "
            "ca.crt of the Secret"
        )
    if isinstance(exc.__cause__, aiohttp.ClientProxyConnectionError):
        why = f"no connection through the proxy: {exc.__cause__.strerror}"
        return "proxy", RetryableError(f"{what}: {why}")
    if _never_sent(exc):
        return "connect", RetryableError(f"{what}: no connection")
    late = _timed_out(exc)
    why = "no answer in time" if late else "the connection broke"
    if isinstance(exc, BodyTooLargeError):
        why = str(exc)
    kind = OutcomeUnknownError if request.method in CHANGES else RetryableError
    return "timeout" if late else "broken", kind(f"{what}: {why}")


def _never_sent(exc: Exception) -> bool:
    """Whether not even a connection was made.

    The transport tells it by its cause alone: it maps this error to ``ConnectTimeout``, as it
    does connections that broke later.
    """
    return isinstance(exc.__cause__, aiohttp.ClientConnectorError)


def _timed_out(exc: Exception) -> bool:
    return isinstance(exc, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout)
