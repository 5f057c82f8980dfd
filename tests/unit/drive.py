"""Plays queue, cloud, cluster and clock around the real reconciler: no network, no waiting."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from image_share_operator.api import status_json
from image_share_operator.api.credentials import Identity, RefusedLogin, TokenCredentials
from image_share_operator.api.errors import (
    CloudError,
    JobUnknownError,
    KubeConflictError,
    ObjectGoneError,
    OutcomeUnknownError,
)
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    API_VERSION,
    FINALIZER,
    GROUP,
    KIND,
    Condition,
    ConditionType,
    Decision,
    ImageDetails,
    JobState,
    Key,
    Membership,
    Status,
)
from image_share_operator.cloud.coalescing.membership_lookup import raise_common_error
from image_share_operator.cloud.sessions import classify_failure
from image_share_operator.controller.credential_cache import LoadedCredentials
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.planning.events import Event
from image_share_operator.planning.requeue import Policy

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
IMAGES = tuple(f"{number:08x}-1111-4222-8333-444455556666" for number in range(1, 200))
KEY = Key("demo", "web")


def spec(images: Sequence[str] = IMAGES[:1], **more: Any) -> dict[str, Any]:
    """A spec as the API server would have let it through."""
    return {
        "images": list(images),
        "projectID": PROJECT,
        "decision": "Accept",
        "credentialsSecretRef": {"name": "otc"},
        "region": "eu-de",
        **more,
    }


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


@dataclass
class Clock:
    """Jumps when told."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def pass_by(self, span: timedelta) -> None:
        self.at += span


@dataclass
class FakeJob:
    """A job of the fake cloud; applied when it settles."""

    images: tuple[str, ...]
    decision: Decision
    ready_at: datetime
    report: JobReport
    applies: tuple[str, ...]
    applied: bool = False


@dataclass
class FakeCloud:
    """Shares of one project. ``fails`` are raised one per call before anything else happens.

    Attributes:
        unreadable: why the membership of an image can't be read.
        odd_rows: how often a job succeeds and reports this image as failed.
        refusals: why a batch with this image is refused; the first image of the batch counts.
        lost: answers of the next batches that are lost after the batch was taken.
        verdict: what a batch comes to: (report, images that change); default is success.
    """

    clock: Clock
    shares: dict[str, Membership] = field(default_factory=dict)
    job_takes: timedelta = timedelta(seconds=1)
    fails: list[Exception | None] = field(default_factory=list)
    puts: list[tuple[str, ...]] = field(default_factory=list)
    looks: int = 0
    polls: int = 0
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    spoiled: dict[str, tuple[str | None, bool]] = field(default_factory=dict)
    unreadable: dict[str, CloudError] = field(default_factory=dict)
    odd_rows: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, CloudError] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    refusal: Exception | None = None
    inert: bool = False
    login_history: list[RefusedLogin] = field(default_factory=list)
    typical_duration: timedelta = timedelta(seconds=1)
    lost: int = 0
    named: dict[str, ImageDetails] = field(default_factory=dict)

    def session(self, identity: Identity) -> "FakeCloud":
        assert identity.project_id == PROJECT
        return self

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        assert identity.project_id == PROJECT
        self.login_history.append(refused_login)

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        del vault_id, retry_group
        self._fail()
        self.puts.append(images)
        for image in images:
            if image in self.refusals:
                raise self.refusals[image]
        if self.refusal is not None and self.refused & set(images):
            raise self.refusal
        job_id = f"{len(self.jobs):032x}"
        self.jobs[job_id] = self._job(decision, images)
        if self.lost:
            self.lost -= 1
            raise OutcomeUnknownError("connection lost")
        return job_id

    def _job(self, decision: Decision, images: tuple[str, ...]) -> FakeJob:
        """``spoiled`` maps an image to (error code, whether the job names it)."""
        bad = [image for image in images if image in self.spoiled]
        report, applies = JobReport(state=JobState.SUCCESS), images
        if bad:
            code, named = self.spoiled[bad[0]]
            rows = (
                dict.fromkeys(bad, "the job reports status 'FAIL' for this image") if named else {}
            )
            report = JobReport(
                state=JobState.FAIL, error_code=code, fail_reason="broken", failed_rows=rows
            )
            applies = tuple(set(images) - set(bad)) if named else ()
        for image in [image for image in images if self.odd_rows.get(image)]:
            self.odd_rows[image] -= 1
            rows = {image: "the job reports status 'failed' for this image"}
            report = JobReport(state=JobState.SUCCESS, failed_rows=rows)
            applies = tuple(set(applies) - {image})
        return FakeJob(
            images=images,
            decision=decision,
            ready_at=self.clock.at + self.job_takes,
            report=report,
            applies=() if self.inert else applies,
        )

    async def job(self, job_id: str) -> JobReport:
        self._fail()
        self.polls += 1
        if job_id not in self.jobs:
            raise JobUnknownError("no such job")
        job = self.jobs[job_id]
        self._settle()
        return job.report if job.ready_at <= self.clock.at else JobReport(state=JobState.RUNNING)

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        return {image: self.named[image] for image in images if image in self.named}

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership | CloudError]:
        del max_age
        self._fail()
        self._settle()
        self.looks += 1
        shown = {image: self.shares.get(image, Membership.NOT_SHARED) for image in images}
        results = {image: self.unreadable.get(image, shown[image]) for image in images}
        raise_common_error(results.values())
        return results

    def _settle(self) -> None:
        for job in self.jobs.values():
            if not job.applied and job.ready_at <= self.clock.at:
                job.applied = True
                self.shares |= {i: job.decision.wanted for i in job.applies if i in self.shares}

    def _fail(self) -> None:
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure


@dataclass
class FakeKube:
    """One object on an API server that counts versions. ``fails`` as in `FakeCloud`.

    Attributes:
        denied: what each change of the finalizer raises; ``None`` when it is allowed.
    """

    body: dict[str, Any]
    writes: list[dict[str, Any]] = field(default_factory=list)
    fails: list[Exception | None] = field(default_factory=list)
    released: bool = False
    denied: Exception | None = None
    terminating: bool = False
    namespace_looks: int = 0
    while_read: Callable[[], object] = lambda: None

    async def read(self, key: Key) -> Mapping[str, Any]:
        assert key == KEY
        body = self.body
        self.while_read()
        return body

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure
        if key != KEY:
            raise ObjectGoneError("no such object")
        if str(version) != self.body["metadata"]["resourceVersion"]:
            raise KubeConflictError("HTTP 409")
        self.writes.append(json.loads(json.dumps(status)))
        return self.changed(status=self.writes[-1])

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        assert (key, uid) == (KEY, self.body["metadata"]["uid"])
        if self.denied is not None:
            raise self.denied
        self.body["metadata"]["finalizers"] = [FINALIZER]
        return self.changed()

    async def remove_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        assert (key, uid) == (KEY, self.body["metadata"]["uid"])
        if self.denied is not None:
            raise self.denied
        self.body["metadata"].pop("finalizers", None)
        self.released = True
        return self.changed()

    async def namespace_terminating(self, namespace: str) -> bool:
        assert namespace == KEY.namespace
        self.namespace_looks += 1
        return self.terminating

    def changed(self, **parts: Any) -> dict[str, Any]:
        metadata = dict(self.body["metadata"])
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if "spec" in parts:
            metadata["generation"] += 1
        self.body = {**self.body, **parts, "metadata": metadata}
        return self.body

    def replaced(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Another object takes the name."""
        old = self.body["metadata"]
        metadata = {
            **{name: old[name] for name in ("namespace", "name", "resourceVersion")},
            "uid": f"u{int(old['uid'][1:]) + 1}",
            "generation": 0,
        }
        self.body = {**self.body, "metadata": metadata}
        return self.changed(spec=dict(spec), status={"observedGeneration": -1})


@dataclass
class FakeCredentials:
    """A Secret; ``error`` is raised while it is set.

    Attributes:
        meanwhile: what happens while it is read: one for each read.
    """

    version: str = "1"
    error: Exception | None = None
    reads: int = 0
    meanwhile: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])

    async def get(self, namespace: str, name: str) -> LoadedCredentials:
        assert (namespace, name) == (KEY.namespace, "otc")
        self.reads += 1
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.error is not None:
            raise self.error
        return LoadedCredentials(credentials=TokenCredentials(token="t"), version=self.version)


class Drive:
    """One object, driven pass by pass; the clock jumps over the delays."""

    def __init__(self, wanted: Mapping[str, Any] | None = None, **shares: Membership) -> None:
        self.clock = Clock()
        self.cloud = FakeCloud(self.clock, shares=dict.fromkeys(IMAGES, Membership.PENDING))
        self.cloud.shares |= shares
        self.kube = FakeKube(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {
                    "namespace": KEY.namespace,
                    "name": KEY.name,
                    "uid": "u1",
                    "resourceVersion": "1",
                    "generation": 1,
                },
                "spec": dict(wanted or spec()),
                "status": {"observedGeneration": -1},
            }
        )
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
            emit=self.events.append,
            classify_failure=classify_failure,
            now=self.clock.now,
            policy=Policy(),
            rng=random.Random(7),  # noqa: S311 - repeatable jitter
        )

    def restart(self) -> None:
        """Lose everything that is only in memory."""
        self.store = ObjectStore(self.clock.now)
        self.reconciler = self._reconciler()
        self.store.observe(self.kube.body)
        self.requeue_after = timedelta()

    def edit(self, **changes: Any) -> None:
        """Change the spec, as a user would."""
        merged = {**self.kube.body["spec"], **changes}
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
