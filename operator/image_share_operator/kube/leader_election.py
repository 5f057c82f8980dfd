"""Leader election on a Lease: one replica is the leader and reconciles, the others are standbys.

The `kubernetes` package has a leader election. It ends when a connection fails, cannot be stopped
and does not release the Lease (ADR 6).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast

from image_share_operator.api.errors import (
    KubeConflictError,
    KubeError,
    KubeForbiddenError,
    LostLeadError,
    ObjectGoneError,
)
from image_share_operator.kube.client import ApiServer, path
from image_share_operator.timestamps import zulu

log = logging.getLogger(__name__)

COORDINATION = "coordination.k8s.io"
LEASES = f"leases.{COORDINATION}"

PARSE_ERRORS = (AttributeError, KeyError, TypeError, ValueError)
"""Raised for a response that is not a Lease, for example from a proxy."""
LOCK_ERRORS = (KubeError, TimeoutError, *PARSE_ERRORS)
"""All that a request for the Lease raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """Times of the election: ``lease_duration`` > ``renew_deadline`` > ``renew_period``."""

    lease_duration: timedelta = timedelta(seconds=15)
    """A standby may take a Lease that did not change for this time."""
    renew_deadline: timedelta = timedelta(seconds=10)
    """The leader stops this long after the start of its last successful renewal. A request that it
    sent just before has the rest of ``lease_duration`` to arrive."""
    renew_period: timedelta = timedelta(seconds=2)
    """Between two renewals of the leader."""
    retry_period: timedelta = timedelta(seconds=0.5)
    """Between two reads of a standby."""
    attempt_timeout: timedelta = timedelta(seconds=4)
    """For one read and one write, before another connection is tried."""
    release_retry: timedelta = timedelta(seconds=0.1)
    """Between two attempts to release the Lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElectionRecord:
    """The fields of a Lease (coordination.k8s.io/v1) that the election uses.

    Attributes:
        holder: identity of the leader; empty after it released the Lease.
        version: resourceVersion; empty for a Lease that does not exist yet.
        acquired: RFC 3339 with microseconds, as `renewed`. For people: the clocks of two replicas
            may differ, so neither is compared with the time of this process.
    """

    holder: str
    duration: timedelta
    acquired: str
    renewed: str
    transitions: int
    version: str


class Lock(Protocol):
    """One Lease of the API server. All methods raise `KubeError`."""

    async def read(self) -> LeaderElectionRecord | None:
        """Return the Lease; ``None`` when there is none."""
        ...

    async def write(self, record: LeaderElectionRecord) -> None:
        """Create the Lease, or replace exactly the version that the record names."""
        ...


def elapsed_s() -> float:
    """Return seconds of a clock that also runs while the machine sleeps, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class LeaderElector:
    """One candidate of the election.

    Args:
        identity: unique for each process. A restarted process must not be mistaken for the old
            one: a request of the old one may still be on its way.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        lock: Lock,
        identity: str,
        *,
        timing: LeaseTiming | None = None,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        self._lock = lock
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._clock = clock
        self._renewed_at: float | None = None
        self._observed: LeaderElectionRecord | None = None
        self._observed_at = 0.0
        self._last_error = ""

    @property
    def is_leader(self) -> bool:
        """Whether this replica may act: for ``renew_deadline`` after the start of a renewal."""
        return self._remaining_s() > 0

    def require_leader(self) -> None:
        """Raise `LostLeadError` if this replica is not the leader.

        Called just before each write: while this process was frozen, another replica may have
        become the leader.
        """
        if not self.is_leader:
            deadline = self._timing.renew_deadline.total_seconds()
            raise LostLeadError(f"lease not renewed for {deadline:.0f} s")

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this replica is the leader or ``stop`` is set; return whether it is."""
        while not stop.is_set():
            if await self._try_acquire_or_renew():
                log.info("became leader as %s", self._identity)
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._retry_s())
        return False

    async def renew(self) -> None:
        """Renew the Lease until cancelled.

        Raises:
            LostLeadError: another replica is the leader, or may become it.
        """
        while True:
            await asyncio.sleep(self._timing.renew_period.total_seconds())
            self.require_leader()
            renewed = await self._try_acquire_or_renew()
            other = self._other_holder(self._observed)
            if not renewed and other:
                raise LostLeadError(f"lease taken by {other}")

    async def release(self) -> None:
        """Release the Lease, so that a standby need not wait. Nothing may be written after this."""
        if not self.is_leader:
            return
        self._renewed_at = None
        error = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.attempt_timeout.total_seconds()):
                while True:
                    error = await self._try_release()
                    if not error:
                        return
                    await asyncio.sleep(self._timing.release_retry.total_seconds())
        log.warning("failed to release the lease: %s", error or "no response in time")

    async def _try_release(self) -> str:
        """Release the Lease once; return the error. The last renewal may still arrive."""
        try:
            record = await self._lock.read()
            if record is not None and record.holder == self._identity:
                await self._lock.write(replace(record, holder="", duration=timedelta(seconds=1)))
        except LOCK_ERRORS as exc:
            return _error_text(exc)
        return ""

    async def _try_acquire_or_renew(self) -> bool:
        """Acquire or renew the Lease once; return whether that succeeded."""
        limit = self._timing.attempt_timeout.total_seconds()
        try:
            async with asyncio.timeout(
                min(limit, self._remaining_s()) if self.is_leader else limit
            ):
                return await self._acquire_or_renew()
        except KubeConflictError:
            return False  # another replica was faster; the next read shows which one
        except LOCK_ERRORS as exc:
            self._log_error(exc)
            return False

    async def _acquire_or_renew(self) -> bool:
        started_at = self._clock()
        record = await self._lock.read()
        self._observe(record)
        if not self._may_acquire(record):
            return False
        await self._lock.write(self._own_record(record))
        # Before the request: standbys count from when they see the renewal, which is later.
        self._renewed_at = started_at
        self._last_error = ""
        return True

    def _observe(self, record: LeaderElectionRecord | None) -> None:
        if record == self._observed:
            return
        other = self._other_holder(record)
        if other and other != self._other_holder(self._observed):
            log.info("standby: leader is %s", other)
        self._observed, self._observed_at = record, self._clock()

    def _other_holder(self, record: LeaderElectionRecord | None) -> str:
        """Return the identity of another replica that holds the Lease; empty if none does."""
        return "" if record is None or record.holder == self._identity else record.holder

    def _may_acquire(self, record: LeaderElectionRecord | None) -> bool:
        return not self._other_holder(record) or self._expires_in_s() <= 0

    def _expires_in_s(self) -> float:
        """Return the seconds until the observed Lease expires, if it does not change."""
        if self._observed is None:
            return 0.0
        return self._observed_at + self._observed.duration.total_seconds() - self._clock()

    def _retry_s(self) -> float:
        """Return the seconds until the next read: when the Lease expires, if that is sooner."""
        period = self._timing.retry_period.total_seconds()
        expires = self._expires_in_s()
        if self._other_holder(self._observed) and expires > 0:
            return min(period, expires)
        return period

    def _remaining_s(self) -> float:
        """Return for how many seconds this replica is still the leader; 0 or less if it is not."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._timing.renew_deadline.total_seconds() - self._clock()

    def _own_record(self, current: LeaderElectionRecord | None) -> LeaderElectionRecord:
        now = zulu(datetime.now(UTC), "microseconds")
        same = current is not None and current.holder == self._identity
        return LeaderElectionRecord(
            holder=self._identity,
            duration=self._timing.lease_duration,
            acquired=current.acquired if current is not None and same else now,
            renewed=now,
            transitions=0 if current is None else current.transitions + (not same),
            version="" if current is None else current.version,
        )

    def _log_error(self, exc: Exception) -> None:
        """Log an error once until it changes; a missing permission needs a person."""
        error = _error_text(exc)
        level = logging.ERROR if isinstance(exc, KubeForbiddenError) else logging.WARNING
        level = logging.DEBUG if error == self._last_error else level
        log.log(level, "failed to acquire or renew the lease: %s", error)
        self._last_error = error


def _error_text(exc: Exception) -> str:
    if isinstance(exc, PARSE_ERRORS):
        return f"the response is not a Lease ({type(exc).__name__})"
    return str(exc) or "no response in time"


class LeaseLock:
    """The lock of the election: one Lease."""

    def __init__(self, api: ApiServer, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaderElectionRecord | None:
        """Return the Lease; ``None`` when there is none."""
        try:
            lease = await self._call("get", self._name)
        except ObjectGoneError:
            return None
        spec = cast("dict[str, Any]", lease.get("spec") or {})
        return LeaderElectionRecord(
            holder=spec.get("holderIdentity") or "",
            duration=timedelta(seconds=spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=lease["metadata"]["resourceVersion"],
        )

    async def write(self, record: LeaderElectionRecord) -> None:
        """Create the Lease, or replace exactly the version that the record names."""
        if record.version:
            await self._call("update", self._name, body=self._body(record))
        else:
            await self._call("create", body=self._body(record))

    async def _call(self, verb: str, *name: str, body: Mapping[str, Any] | None = None) -> Any:
        where = ("apis", COORDINATION, "v1", "namespaces", self._namespace, "leases", *name)
        return await self._api.call(
            verb,
            path(*where),
            resource=LEASES,
            namespace=self._namespace,
            body=body,
        )

    def _body(self, record: LeaderElectionRecord) -> dict[str, Any]:
        metadata = {"name": self._name, "namespace": self._namespace}
        if record.version:
            metadata["resourceVersion"] = record.version
        return {
            "apiVersion": f"{COORDINATION}/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": record.holder,
                "leaseDurationSeconds": int(record.duration.total_seconds()),
                "acquireTime": record.acquired or None,
                "renewTime": record.renewed or None,
                "leaseTransitions": record.transitions,
            },
        }
