"""Sends one HTTP request to the cloud: limits it, measures it, converts its failures to errors.

Theory of operation
-------------------

`CloudHttpClient.send` takes a request through these steps, in this order:

    1  circuit breaker, check   an open circuit fails at once: no request waits for a seat of an
                                endpoint that is down
    2  limiter                  waits for a seat of the endpoint; namespaces take turns
    3  signature                signs a request with an access key; after the wait, because the
                                signature has the time, and the key may have been refused meanwhile
    4  circuit breaker, admit   the circuit may have opened during the wait
    5  leadership               a write is refused when this replica may no longer write
    6  in-flight writes         a write is refused during the shutdown; a PUT or DELETE is tracked,
                                so that the end of the shutdown can abort it
    7  transport                one attempt, under ``timeout``, until the last byte of the body

When step 3 or 4 refuses the request, the seat counts as unused.

`ImsClient` and `Authorization` do two steps before: the throttle of the identity, which obeys
``Retry-After``, and the token. The timeout covers step 7 only: a wait for a seat does not count.

A response with any status but 2xx is returned as a `Refusal`. It is parsed once, here; the caller
converts it to an error. A status of 5xx counts as a failure for the circuit, any other status
closes it. Without a response, the error depends on what may have happened in the cloud:

    the URL is not valid            TerminalError; no failure for the circuit
    nothing was sent                RetryableError (`no_response.NEVER_SENT`)
    any other cause                 OutcomeUnknownError for a PUT or DELETE, which may have taken
                                    effect; RetryableError for any other method

The message has endpoint and cause, and nothing that differs between two requests. While the circuit
is open, each request fails with the message of the last failure: so all resources report the cause
of an outage, and a probe changes no status.

Each exchange is recorded in the metrics, the log and the trace. No label and no log line has a
query, a body or a token.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import httpx
from opentelemetry.trace import Span

from image_share_operator.api.errors import CloudError, OutcomeUnknownError, RetryableError
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.ca_bundle import read_bundle
from image_share_operator.cloud.http.circuit_breaker import (
    CircuitBreaker,
    CircuitBreakers,
)
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.inflight_writes import InflightWrites
from image_share_operator.cloud.http.no_response import (
    NEVER_SENT,
    Cause,
    NoResponseError,
)
from image_share_operator.cloud.http.payload import request_line
from image_share_operator.cloud.http.refusal import Refusal, parse_refusal
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.telemetry import metrics, tracing

log = logging.getLogger(__name__)

WRITES = frozenset({"PUT", "POST", "DELETE"})
"""Methods that only the leader may send."""
MUTATIONS = WRITES - {"POST"}
"""Methods that may have taken effect when the response is lost. A POST is a login: it changes
nothing."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _always() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudHttpClient:
    """Sends requests to any endpoint.

    Attributes:
        timeout: limit of one exchange, from the connection to the last byte.
        limiters: limit the requests to each endpoint.
        circuits: the circuit breakers of the endpoints.
        clients: returns the client that also trusts a certificate authority (PEM).
        ca_key: `CaBundle.key` of that authority; empty for those of the system alone.
        may_write: called just before each write; raises when this process may not write.
        flow: the namespace, for fairness at the limiters.
        writes: tracks the writes in flight.
    """

    client: httpx.AsyncClient
    timeout: timedelta
    limiters: Limiters = field(
        default_factory=lambda: Limiters(Limits(at_once=32, per_second=1000.0))
    )
    circuits: CircuitBreakers = field(default_factory=lambda: CircuitBreakers(_utc_now))
    clients: Callable[[str], httpx.AsyncClient] | None = None
    ca_key: str = ""
    may_write: Callable[[], None] = _always
    flow: str = ""
    writes: InflightWrites = field(default_factory=InflightWrites)

    def with_ca(self, ca: str | None) -> "CloudHttpClient":
        """The same client; it also trusts certificates of this authority (PEM)."""
        if ca is None or self.clients is None:
            return self
        return replace(self, client=self.clients(ca), ca_key=read_bundle(ca).key)

    async def send(
        self, request: httpx.Request, sign: Callable[[httpx.Request], None] | None = None
    ) -> httpx.Response | Refusal:
        """Send a request once and read the whole response; only one with status 2xx is returned.

        Args:
            sign: adds the signature just before the request is sent; raises `CloudError` when the
                request must not be sent. ``None`` for a request without a signature.

        Raises:
            OutcomeUnknownError: a write may have taken effect: there was no response.
            RetryableError: nothing was changed: there was no response.
            TerminalError: nothing was sent: the URL is not valid.
            LostLeadError: nothing was sent: another replica is the leader, or may be.
        """
        origin = f"{request.url.scheme}://{request.url.netloc.decode()}"
        circuit = self.circuits.of(origin, self.ca_key)
        circuit.check()
        async with self.limiters.of(origin, self.flow) as seat:
            try:
                if sign is not None:
                    sign(request)
                circuit.admit()
            except CloudError:
                seat.unused()
                raise
            return await self._exchange(request, circuit)

    async def _exchange(
        self, request: httpx.Request, circuit: CircuitBreaker
    ) -> httpx.Response | Refusal:
        if request.method in WRITES:
            self.may_write()
            self.writes.admit()
        exchange = _Exchange(request)
        with tracing.tracer.start_as_current_span(
            exchange.route, attributes=exchange.attributes
        ) as span:
            try:
                async with asyncio.timeout(self.timeout.total_seconds()) as deadline:
                    mutates = request.method in MUTATIONS
                    with self.writes.track(deadline) if mutates else nullcontext():
                        response = await self.client.send(request)
            except (TimeoutError, NoResponseError) as exc:
                failure = exc if isinstance(exc, NoResponseError) else self._timed_out()
                circuit.failed(failure.message(request.url))
                exchange.record_failure(failure, span)
                raise _to_cloud_error(request, failure) from exc
            except BaseException:  # cancelled, or a URL that is not valid
                circuit.no_result()
                exchange.record_cancelled()
                raise
            refusal = None if response.is_success else parse_refusal(response)
            exchange.record_response(response, refusal, span)
        if refusal and refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            circuit.failed(refusal.cause)
        else:
            circuit.succeeded()
        return refusal or response

    def _timed_out(self) -> NoResponseError:
        return NoResponseError(Cause.TIMEOUT, f"timeout after {self.timeout.total_seconds():g} s")


EXPECTED_REFUSALS = frozenset({RefusalKind.IMAGES, RefusalKind.TOKEN, RefusalKind.MISMATCH})
"""Refusals of a read that are normal, and logged at debug level: no such share, expired token."""
REQUEST_IDS = ("X-Request-Id", "X-Openstack-Request-Id")
"""Headers with the request ID: of the API gateway, and of Keystone and Glance."""
_REQUEST_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")


def init_error_counters() -> None:
    """Export all error counters as zero: else Prometheus does not see the first increase."""
    for route in routes.ALL:
        for error in (*(kind.name.lower() for kind in RefusalKind), *Cause):
            metrics.CLOUD_ERRORS.labels(route, error)


class _Exchange:
    """Records one exchange in the metrics, the log and the trace. No label has an ID."""

    def __init__(self, request: httpx.Request) -> None:
        self.route: str = request.extensions.get("route", "other")
        self._request = request
        self._started = time.perf_counter()

    @property
    def attributes(self) -> dict[str, str]:
        """Source: OpenTelemetry semantic conventions, "HTTP Client Spans"."""
        return {
            "http.request.method": self._request.method,
            "url.template": self.route.partition(" ")[2],
            "server.address": self._request.url.raw_host.decode("ascii"),
        }

    def record_response(
        self, response: httpx.Response, refusal: Refusal | None, span: Span
    ) -> None:
        """Record a response with its request ID, which the support of the cloud can look up."""
        took = self._measure(f"{response.status_code // 100}xx")
        span.set_attribute("http.response.status_code", response.status_code)
        request_id = next(
            (response.headers[name] for name in REQUEST_IDS if name in response.headers), ""
        )
        extra = {"request_id": request_id} if _REQUEST_ID.fullmatch(request_id) else {}
        if extra:
            span.set_attribute("http.response.header.x-request-id", request_id)
        if refusal is None:
            log.debug(
                "%s: HTTP %d in %.3f s",
                request_line(response),
                response.status_code,
                took,
                extra=extra,
            )
            return
        kind = refusal.kind.name.lower()
        metrics.CLOUD_ERRORS.labels(self.route, kind).inc()
        span.set_attribute("error.type", kind)
        expected = refusal.kind in EXPECTED_REFUSALS and self._request.method not in WRITES
        log.log(
            logging.DEBUG if expected else logging.WARNING,
            "%s: HTTP %d%s in %.3f s",
            refusal.request,
            refusal.status,
            f" {refusal.code}" if refusal.code else "",
            took,
            extra=extra,
        )

    def record_failure(self, failure: NoResponseError, span: Span) -> None:
        """Record an exchange without a usable response."""
        took = self._measure("none")
        metrics.CLOUD_ERRORS.labels(self.route, failure.cause).inc()
        span.set_attribute("error.type", failure.cause)
        request = self._request
        log.warning(
            "%s %s: %s, after %.3f s",
            request.method,
            request.url.path,
            failure.message(request.url),
            took,
        )

    def record_cancelled(self) -> None:
        """Record an exchange that was cancelled: its reconcile no longer waits for it."""
        self._measure("none")

    def _measure(self, code: str) -> float:
        took = time.perf_counter() - self._started
        metrics.CLOUD_CALLS.labels(self.route, code).observe(took)
        return took


def _to_cloud_error(request: httpx.Request, failure: NoResponseError) -> RetryableError:
    may_have_taken_effect = request.method in MUTATIONS and failure.cause not in NEVER_SENT
    error = OutcomeUnknownError if may_have_taken_effect else RetryableError
    return error(failure.message(request.url))
