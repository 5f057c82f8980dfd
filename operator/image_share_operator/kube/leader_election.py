"""Which replica works and which wait: a Lease, taken, kept and given back.

Own code: the `kubernetes` package's election dies of a broken connection, can't be told to stop,
and gives nothing back (ADR 6).
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

UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)
"""What reading an answer ends in that is no Lease: something in between has answered."""
FAILURES = (KubeError, TimeoutError, *UNREADABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTiming:
    """How long everything takes; `duration` must be longer than `deadline`, that than `renew`."""

    duration: timedelta = timedelta(seconds=15)
    """So long after the last renewal that they saw, others may take the Lease."""
    deadline: timedelta = timedelta(seconds=10)
    """So long after its last renewal, the holder stops to act. What it began just before has the
    difference of both to arrive."""
    renew: timedelta = timedelta(seconds=2)
    """Between two renewals."""
    look: timedelta = timedelta(seconds=0.5)
    """Between two looks of those who wait."""
    attempt: timedelta = timedelta(seconds=4)
    """For one look and one write, before another connection is tried."""
    pause: timedelta = timedelta(seconds=0.1)
    """Between two tries to give it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElectionRecord:
    """A Lease (coordination.k8s.io/v1) as far as it matters here.

    Attributes:
        holder: identity of the replica that works; empty when it gave the Lease back.
        version: resourceVersion; empty for a Lease that is not there yet.
        acquired: RFC 3339 with microseconds, as `renewed`: for people, never compared with a clock
            of ours.
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
        """The Lease as it is; ``None`` when there is none."""
        ...

    async def write(self, record: LeaderElectionRecord) -> None:
        """Create it, or replace exactly the version that the record names."""
        ...


def elapsed_s() -> float:
    """Seconds on a clock that also runs while the machine sleeps, where there is such a clock."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class LeaderElector:
    """One candidate.

    Args:
        identity: unique for each process: a restarted one must not take itself for the old one,
            whose last request may still be on its way.
        clock: seconds, only ever forward.
    """

    def __init__(
        self,
        leases: Lock,
        identity: str,
        *,
        timing: LeaseTiming | None = None,
        clock: Callable[[], float] = elapsed_s,
    ) -> None:
        self._leases = leases
        self._identity = identity
        self._timing = timing or LeaseTiming()
        self._clock = clock
        self._renewed_at: float | None = None
        self._seen: LeaderElectionRecord | None = None
        self._seen_at = 0.0
        self._told = ""

    @property
    def leads(self) -> bool:
        """Whether this replica may act now; true for ``deadline`` after a renewal was begun."""
        return self._left_s() > 0

    def require(self) -> None:
        """Raise `LostLeadError` unless this replica may act now.

        Called just before each write: a process that was stopped for a while may find another in
        its place.
        """
        if not self.leads:
            raise LostLeadError(
                f"the Lease was not renewed for {self._timing.deadline.total_seconds():.0f} s"
            )

    async def acquire(self, stop: asyncio.Event) -> bool:
        """Wait until this replica leads, or until ``stop``; return whether it leads."""
        while not stop.is_set():
            if await self._tried():
                log.info("leads as %s", self._identity)
                return True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._next_look_s())
        return False

    async def keep(self) -> None:
        """Renew until cancelled.

        Raises:
            LostLeadError: another replica holds the Lease, or may do so soon.
        """
        while True:
            await asyncio.sleep(self._timing.renew.total_seconds())
            self.require()
            if not await self._tried() and self._held_by_another():
                raise LostLeadError("another replica took the Lease")

    async def give_back(self) -> None:
        """Let another replica begin at once. Nothing may be written after this."""
        if not self.leads:
            return
        self._renewed_at = None
        why = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.attempt.total_seconds()):
                while True:
                    why = await self._not_given_back()
                    if not why:
                        return
                    await asyncio.sleep(self._timing.pause.total_seconds())
        log.warning("the Lease was not given back: %s", why or "no answer in time")

    async def _not_given_back(self) -> str:
        """Try it once; tell why it failed. A last renewal may still arrive in between."""
        try:
            found = await self._leases.read()
            if found is not None and found.holder == self._identity:
                await self._leases.write(replace(found, holder="", duration=timedelta(seconds=1)))
        except FAILURES as exc:
            return _words(exc)
        return ""

    async def _tried(self) -> bool:
        """Take or renew the Lease once; say whether that worked."""
        most = self._timing.attempt.total_seconds()
        try:
            async with asyncio.timeout(min(most, self._left_s()) if self.leads else most):
                return await self._attempt()
        except KubeConflictError:
            return False  # another was faster; the next look tells who
        except FAILURES as exc:
            self._tell_failure(exc)
            return False

    async def _attempt(self) -> bool:
        began = self._clock()
        found = await self._leases.read()
        self._note(found)
        if not self._free(found):
            return False
        await self._leases.write(self._mine(found))
        # From before the request: others count from when they see it, which is later.
        self._renewed_at = began
        self._told = ""
        return True

    def _note(self, found: LeaderElectionRecord | None) -> None:
        if found == self._seen:
            return
        if found is not None and self._held_by_another(found):
            before = None if self._seen is None else self._seen.holder
            if found.holder != before:
                log.info("waits: %s holds the Lease", found.holder)
        self._seen, self._seen_at = found, self._clock()

    def _held_by_another(self, record: LeaderElectionRecord | None = None) -> bool:
        known = record or self._seen
        return known is not None and known.holder not in ("", self._identity)

    def _free(self, found: LeaderElectionRecord | None) -> bool:
        return found is None or not self._held_by_another(found) or self._expires_in_s() <= 0

    def _expires_in_s(self) -> float:
        """Until the holder that was seen last has been silent for too long."""
        if self._seen is None:
            return 0.0
        return self._seen_at + self._seen.duration.total_seconds() - self._clock()

    def _next_look_s(self) -> float:
        look = self._timing.look.total_seconds()
        expires = self._expires_in_s()
        return min(look, expires) if self._held_by_another() and expires > 0 else look

    def _left_s(self) -> float:
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._timing.deadline.total_seconds() - self._clock()

    def _mine(self, found: LeaderElectionRecord | None) -> LeaderElectionRecord:
        now = zulu(datetime.now(UTC), "microseconds")
        same = found is not None and found.holder == self._identity
        return LeaderElectionRecord(
            holder=self._identity,
            duration=self._timing.duration,
            acquired=found.acquired if found is not None and same else now,
            renewed=now,
            transitions=0 if found is None else found.transitions + (not same),
            version="" if found is None else found.version,
        )

    def _tell_failure(self, exc: Exception) -> None:
        said = _words(exc)
        level = logging.ERROR if isinstance(exc, KubeForbiddenError) else logging.WARNING
        log.log(logging.DEBUG if said == self._told else level, "Lease: %s", said)
        self._told = said


def _words(exc: Exception) -> str:
    if isinstance(exc, UNREADABLE):
        return f"the answer can't be read ({type(exc).__name__})"
    return str(exc) or "no answer in time"


class LeaseLock:
    """The lock of leader election: one Lease."""

    def __init__(self, api: ApiServer, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def read(self) -> LeaderElectionRecord | None:
        """The Lease as it is; ``None`` when there is none."""
        try:
            found = await self._call("get", self._name)
        except ObjectGoneError:
            return None
        spec = cast("dict[str, Any]", found.get("spec") or {})
        return LeaderElectionRecord(
            holder=spec.get("holderIdentity") or "",
            duration=timedelta(seconds=spec.get("leaseDurationSeconds") or 0),
            acquired=spec.get("acquireTime") or "",
            renewed=spec.get("renewTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=found["metadata"]["resourceVersion"],
        )

    async def write(self, record: LeaderElectionRecord) -> None:
        """Create it, or replace exactly the version that the record names."""
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
