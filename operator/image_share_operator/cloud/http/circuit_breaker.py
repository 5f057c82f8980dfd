"""Keeps ten thousand resources from probing an endpoint that is down, one by one.

After some failures in a row the endpoint is left alone for a while; then one request goes first,
and the rest follow if it comes back. No I/O.
"""

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from image_share_operator.api.errors import RetryableError
from image_share_operator.flowcontrol import backoff

THRESHOLD = 5
"""Failures in a row that open the circuit: one resource's bad luck is less than that."""
CEILING = timedelta(seconds=30)
"""The longest rest: what an outage lasts longer than it must, at most."""
PROBE_TIME = timedelta(seconds=60)
"""A probe that is not heard of for so long does not count as under way."""
MAX_ENDPOINTS = 1_000


class CircuitOpenError(RetryableError):
    """The endpoint is left alone for now: nothing was sent."""


@dataclass(slots=True)
class CircuitBreaker:
    """One endpoint.

    Attributes:
        open_until: when the next probe may go; ``None`` while the endpoint works.
    """

    name: str
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    failures: int = 0
    open_until: datetime | None = None
    probing_since: datetime | None = None

    def check(self) -> None:
        """Look whether a request may pass; whoever then sends one asks `admit`.

        Raises:
            CircuitOpenError: the endpoint is being left alone.
        """
        if self.open_until is None:
            return
        now = self.now()
        if now < self.open_until:
            raise self._refusal(self.open_until - now)
        if self.probing_since is not None and now < self.probing_since + PROBE_TIME:
            raise self._refusal(timedelta(seconds=1))

    def admit(self) -> None:
        """Let a request pass: it is sent now.

        Raises:
            CircuitOpenError: the endpoint is being left alone.
        """
        self.check()
        if self.open_until is not None:
            self.probing_since = self.now()

    def succeeded(self) -> None:
        """The endpoint answered."""
        self.failures = 0
        self.open_until = self.probing_since = None

    def failed(self) -> None:
        """The endpoint did not answer, or said that it can't."""
        self.failures += 1
        self.probing_since = None
        if self.failures >= THRESHOLD:
            rest = backoff.exponential(
                self.failures - THRESHOLD + 1, jitter=self.jitter(), ceiling=CEILING
            )
            self.open_until = self.now() + rest

    def gave_up(self) -> None:
        """Whoever asked went away before there was an answer."""
        self.probing_since = None

    def _refusal(self, wait: timedelta) -> CircuitOpenError:
        return CircuitOpenError(
            f"{self.name} is not asked for a moment: it failed {THRESHOLD} times or more in a row",
            retry_after=wait,
        )


class CircuitBreakers:
    """The circuits of all endpoints, by scheme, host and port.

    Those who trust another authority have one of their own: whom they can't trust, others can.
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
        """How many endpoints are being left alone."""
        return sum(circuit.open_until is not None for circuit in self._known.values())

    def of(self, origin: str, trust: str = "") -> CircuitBreaker:
        """The one circuit of this endpoint, for those who trust the same authorities."""
        key = (origin, trust)
        circuit = self._known.get(key)
        if circuit is None:
            circuit = self._known[key] = CircuitBreaker(origin, self._now, self._jitter)
        self._known.move_to_end(key)
        while len(self._known) > MAX_ENDPOINTS:
            self._known.popitem(last=False)
        return circuit
