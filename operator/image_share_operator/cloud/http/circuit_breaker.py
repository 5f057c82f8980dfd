"""Stops requests to an endpoint that is down; one probe request tests whether it works again.

After `THRESHOLD` failures in a row the circuit opens: requests fail at once, without I/O. When the
open time ends, one request is sent as a probe. If it succeeds, the circuit closes; if it fails,
the circuit opens for longer. Without this, ten thousand resources would each send requests to an
endpoint that is down. No I/O.
"""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from image_share_operator.api.errors import RetryableError
from image_share_operator.flowcontrol import backoff

THRESHOLD = 5
"""Failures in a row that open the circuit: more than single transient errors cause."""
MAX_OPEN_TIME = timedelta(seconds=30)
"""The longest time between two probes: an outage seems longer than it is by no more than this."""
PROBE_TIMEOUT = timedelta(seconds=60)
"""After this time another probe is sent, although the first one has no result yet."""
MAX_ENDPOINTS = 1_000
"""Circuits that are kept. The least recently used one is dropped: it closes."""


class CircuitOpenError(RetryableError):
    """The circuit of the endpoint is open: nothing was sent.

    The message is that of the last failure, which every resource reports during an outage.
    """


@dataclass(slots=True)
class CircuitBreaker:
    """The circuit of one endpoint.

    Attributes:
        last_failure: message of the last failure; empty when there is none.
        open_until: when the next probe may be sent; ``None`` while the circuit is closed.
        probing_since: when the running probe was sent; ``None`` when there is none.
    """

    now: Callable[[], datetime]
    jitter: Callable[[], float]
    failures: int = 0
    last_failure: str = ""
    open_until: datetime | None = None
    probing_since: datetime | None = None

    def check(self) -> None:
        """Check whether a request may be sent. To send one, call `admit`.

        Raises:
            CircuitOpenError: the circuit is open.
        """
        if self.open_until is None:
            return
        now = self.now()
        if now < self.open_until:
            raise self._open_error(self.open_until - now)
        if self.probing_since is not None and now < self.probing_since + PROBE_TIMEOUT:
            raise self._open_error(timedelta(seconds=1))

    def admit(self) -> None:
        """Admit a request that is sent now; it is the probe if the circuit is not closed.

        Raises:
            CircuitOpenError: the circuit is open.
        """
        self.check()
        if self.open_until is not None:
            self.probing_since = self.now()

    def succeeded(self) -> None:
        """Close the circuit: the endpoint responded."""
        self.failures = 0
        self.open_until = self.probing_since = None

    def failed(self, message: str) -> None:
        """Count a request without a response, or with a server error."""
        self.failures += 1
        self.last_failure = message
        self.probing_since = None
        if self.failures >= THRESHOLD:
            open_time = backoff.exponential(
                self.failures - THRESHOLD + 1, jitter=self.jitter(), ceiling=MAX_OPEN_TIME
            )
            self.open_until = self.now() + open_time

    def no_result(self) -> None:
        """End a request that says nothing about the endpoint, such as a cancelled one."""
        self.probing_since = None

    def _open_error(self, wait: timedelta) -> CircuitOpenError:
        return CircuitOpenError(self.last_failure, retry_after=wait)


class CircuitBreakers:
    """The circuits of all endpoints, by scheme, host and port.

    Each set of trusted authorities has circuits of its own: a certificate that one tenant does not
    trust must not open the circuit for a tenant that trusts it.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._now = now
        self._jitter = jitter
        self._known: OrderedDict[tuple[str, str], CircuitBreaker] = OrderedDict()

    @property
    def open(self) -> int:
        """The number of open circuits."""
        return sum(circuit.open_until is not None for circuit in self._known.values())

    def of(self, origin: str, ca_key: str = "") -> CircuitBreaker:
        """The circuit of this endpoint for clients that trust the same authorities."""
        key = (origin, ca_key)
        circuit = self._known.get(key)
        if circuit is None:
            circuit = self._known[key] = CircuitBreaker(self._now, self._jitter)
        self._known.move_to_end(key)
        while len(self._known) > MAX_ENDPOINTS:
            self._known.popitem(last=False)
        return circuit
