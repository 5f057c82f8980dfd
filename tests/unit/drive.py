"""Plays queue, cloud, cluster and clock around the real reconciler: no network, no waiting."""

import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from fakes import (
    IMAGES,
    KEY,
    PROJECT,
    START,
    Clock,
    FakeCloud,
    FakeCredentials,
    FakeKube,
    new_object,
    spec,
)
from image_share_operator.api import status_json
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    GROUP,
    Condition,
    ConditionType,
    Membership,
    Status,
)
from image_share_operator.cloud.sessions import classify_failure
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.planning.events import Event
from image_share_operator.planning.requeue import Policy

__all__ = [
    "IMAGES",
    "KEY",
    "PROJECT",
    "START",
    "Clock",
    "Drive",
    "FakeCloud",
    "FakeCredentials",
    "FakeKube",
    "accepted",
    "spec",
    "told",
]


def told(reason: Reason, *, generation: int = 1, version: str | None = "7") -> Status:
    """A status whose Ready condition says so."""
    ready = Condition(
        type=ConditionType.READY,
        status="True" if reason is Reason.ACCEPTED else "False",
        reason=reason,
        message="so it is",
        observed_generation=generation,
        last_transition_time=START,
    )
    return Status(observed_generation=generation, conditions=(ready,), secret_version=version)


class Drive:
    """One object, driven pass by pass; the clock jumps over the delays."""

    cloud_type = FakeCloud

    def __init__(self, wanted: Mapping[str, Any] | None = None, **shares: Membership) -> None:
        self.clock = Clock()
        self.cloud = self.cloud_type(self.clock, shares=dict.fromkeys(IMAGES, Membership.PENDING))
        self.cloud.shares |= shares
        self.kube = FakeKube(new_object(wanted or spec()))
        self.credentials = FakeCredentials()
        self.events: list[Event] = []
        self.store = ObjectStore(self.clock.now)
        self.reconciler = self._reconciler()
        self.requeue_after: timedelta | None = timedelta()
        self.store.observe(self.kube.body)

    def _reconciler(self) -> Reconciler:
        return Reconciler(
            store=self.store,
            cloud=self.cloud,
            credentials=self.credentials,
            kube=self.kube,
            emit=self._emit,
            classify_failure=classify_failure,
            now=self.clock.now,
            policy=Policy(),
            rng=random.Random(7),  # noqa: S311 - repeatable jitter
        )

    def _emit(self, event: Event) -> None:
        self.kube.check_event(event)
        self.events.append(event)

    def restart(self) -> None:
        """Lose everything that is only in memory."""
        self.store = ObjectStore(self.clock.now)
        self.reconciler = self._reconciler()
        self.store.observe(self.kube.body)
        self.requeue_after = timedelta()

    def edit(self, **changes: Any) -> None:
        """Change the spec, as a user would; ``None`` removes a field."""
        merged = {**self.kube.body["spec"], **changes}
        merged = {name: value for name, value in merged.items() if value is not None}
        self.store.observe(self.kube.changed(spec=merged))
        self.requeue_after = timedelta()

    def annotate(self, **annotations: str) -> None:
        """Set annotations; their names are completed with our group."""
        named = {f"{GROUP}/{name.replace('_', '-')}": text for name, text in annotations.items()}
        self.kube.body["metadata"]["annotations"] = named
        self.store.observe(self.kube.changed())
        self.requeue_after = timedelta()

    def delete(self) -> None:
        """Ask for the object to be deleted, as `kubectl delete` does."""
        self.kube.body["metadata"]["deletionTimestamp"] = START.isoformat()
        self.kube.body["metadata"]["generation"] += 1
        self.store.observe(self.kube.changed())
        self.requeue_after = timedelta()

    async def step(self) -> timedelta | None:
        """Jump to the next pass and do it."""
        assert self.requeue_after is not None, "nothing is due"
        self.clock.pass_by(self.requeue_after)
        self.requeue_after = await self.reconciler.reconcile(KEY)
        self._store_is_true()
        return self.requeue_after

    def _store_is_true(self) -> None:
        """What is kept of a write is what a reader of it would see."""
        entry = self.store.get(KEY)
        version = int(self.kube.body["metadata"]["resourceVersion"])
        if entry is not None and entry.version == version:
            assert entry.written == status_json.read(self.kube.body.get("status"))

    async def until(self, reason: str, passes: int = 60) -> None:
        """Do passes until Ready has this reason."""
        for _ in range(passes):
            if self.reason == reason and self.status["observedGeneration"] == self.generation:
                return
            await self.step()
        raise AssertionError(f"not {reason} but {self.reason}: {self.ready}")

    async def run_for(self, span: timedelta) -> None:
        """Do all passes of a span of time."""
        end = self.clock.at + span
        while self.requeue_after is not None and self.clock.at + self.requeue_after <= end:
            await self.step()
        if self.requeue_after is not None:
            self.requeue_after -= end - self.clock.at
        self.clock.at = end

    @property
    def generation(self) -> int:
        return int(self.kube.body["metadata"]["generation"])

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.kube.body["status"])

    def condition(self, kind: str) -> dict[str, Any] | None:
        rows = self.status.get("conditions", ())
        return next((row for row in rows if row["type"] == kind), None)

    @property
    def ready(self) -> dict[str, Any]:
        return self.condition("Ready") or {}

    @property
    def reason(self) -> str | None:
        return self.ready.get("reason")

    @property
    def event_reasons(self) -> list[str]:
        return [event.reason for event in self.events]


async def accepted(wanted: Mapping[str, Any] | None = None) -> Drive:
    """Drive a new object until it is accepted."""
    drive = Drive(wanted)
    await drive.until("Accepted")
    return drive
