"""The fakes of all unit tests: a clock, a Kubernetes API server, Secrets and a cloud. No I/O.

`FakeCloud` is the cloud behind a session, `FakeIms` the cloud behind the batches of a session; both
have the shares and jobs of one project. `FakeHttpCloud` is the cloud behind httpx.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx

from image_share_operator.api.credentials import (
    Credentials,
    GivenTokenEnd,
    Identity,
    RefusedLogin,
    TokenCredentials,
)
from image_share_operator.api.errors import (
    CloudError,
    JobUnknownError,
    KubeConflictError,
    KubeRetryableError,
    ObjectGoneError,
    OutcomeUnknownError,
    TerminalError,
)
from image_share_operator.api.jobs import JobReport, RetryGroup, Submission
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    API_VERSION,
    FINALIZER,
    KIND,
    CredentialsRef,
    Decision,
    Endpoints,
    ImageDetails,
    JobState,
    Key,
    Membership,
    SecretRef,
    Share,
)
from image_share_operator.cloud.coalescing.membership_lookup import raise_common_error
from image_share_operator.cloud.http.circuit_breaker import CircuitBreakers
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.refusal import parse_refusal
from image_share_operator.cloud.ims.codec import SharePage
from image_share_operator.cloud.ims.error_mapping import batch_error
from image_share_operator.cloud.ims.pagination import PAGE_SIZE
from image_share_operator.cloud.sessions import BatchSettings, CloudSession, Sessions
from image_share_operator.controller.credential_cache import LoadedCredentials
from image_share_operator.planning.events import Event

START = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
OWNER = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10"
PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
IMAGES = tuple(f"{number:08x}-1111-4222-8333-444455556666" for number in range(1, 200))
KEY = Key("demo", "web")
SECOND = timedelta(seconds=1)
ROW_FAILED = "the job reports status 'FAIL' for this image"

Json = dict[str, Any]


def spec(images: Sequence[str] = IMAGES[:1], **more: Any) -> Json:
    """A spec as the API server would have let it through."""
    return {
        "images": list(images),
        "projectID": PROJECT,
        "decision": "Accept",
        "credentialsSecretRef": {"name": "otc"},
        "region": "eu-de",
        **more,
    }


def new_object(wanted: Mapping[str, Any], key: Key = KEY, *, uid: str = "u1") -> Json:
    """An object just after its creation."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
            "resourceVersion": "1",
            "generation": 1,
        },
        "spec": dict(wanted),
        "status": {"observedGeneration": -1},
    }


def ready_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Ready condition of an object; empty when there is none."""
    rows = body["status"].get("conditions", ())
    return next((row for row in rows if row["type"] == "Ready"), {})


@dataclass
class Clock:
    """Jumps when told."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def pass_by(self, span: timedelta) -> None:
        self.at += span


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of one batch.

    Attributes:
        takes: until the job settles; ``None`` for `FakeCloud.job_takes`.
        applied: how many images of the batch change, from its end; ``None`` for all.
        named: how many images of the batch the job names as failed, from its start.
        foreign: whether the job names an image that it did not carry.
        lag: from the change until the members show it.
        forgotten: whether the cloud never knows the job.
        lost: whether the batch is taken and its answer is lost.
    """

    takes: timedelta | None = None
    state: JobState = JobState.SUCCESS
    odd: str | None = None
    code: str | None = None
    applied: int | None = None
    named: int = 0
    foreign: bool = False
    lag: timedelta = timedelta()
    forgotten: bool = False
    lost: bool = False


FAITHFUL = Fate()


@dataclass
class FakeJob:
    """A job of the fake cloud; applied when it settles."""

    images: tuple[str, ...]
    decision: Decision
    ready_at: datetime
    report: JobReport
    applies: tuple[str, ...]
    fate: Fate = FAITHFUL
    applied: bool = False


@dataclass
class FakeCloud:
    """Shares of one project. ``fails`` are raised one per call before anything else happens.

    Attributes:
        shares: what is true; ``stale`` is what members show instead.
        fates: of the next batches; after them comes ``usual``.
        spoiled: images that fail their batch: error code, and whether the job names the image.
        odd_rows: how often a job succeeds and reports this image as failed.
        inert: whether jobs change nothing.
        unreadable: why the membership of an image can't be read.
        refusals: why a batch with this image is refused; the first image of the batch counts.
        offers: the images of ``shares`` that lists have, with their details.
        unlisted: images that are left out of lists, and are shared.
        lists: number of lists that were read.
        list_ages: how old each of them was allowed to be.
        lost: answers of the next batches that are lost after the batch was taken.
        down: raised by each call while it is set.
        await_point: called before and after each effect.
        on_put, on_look: called with what is sent and what is seen.
    """

    clock: Clock
    shares: dict[str, Membership] = field(default_factory=dict)
    stale: dict[str, Membership] = field(default_factory=dict)
    showing: list[tuple[datetime, str]] = field(default_factory=list)
    job_takes: timedelta = SECOND
    fails: list[Exception | None] = field(default_factory=list)
    token_end: GivenTokenEnd | None = None
    puts: list[tuple[str, ...]] = field(default_factory=list)
    calls: int = 0
    looks: int = 0
    polls: int = 0
    jobs: dict[str, FakeJob] = field(default_factory=dict)
    usual: Fate = FAITHFUL
    fates: list[Fate] = field(default_factory=list)
    spoiled: dict[str, tuple[str | None, bool]] = field(default_factory=dict)
    unreadable: dict[str, CloudError] = field(default_factory=dict)
    refusals: dict[str, CloudError] = field(default_factory=dict)
    odd_rows: dict[str, int] = field(default_factory=dict)
    inert: bool = False
    login_history: list[RefusedLogin] = field(default_factory=list)
    typical_duration: timedelta = SECOND
    lost: int = 0
    named: dict[str, ImageDetails] = field(default_factory=dict)
    offers: dict[str, Share] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)
    lists: int = 0
    list_ages: list[timedelta] = field(default_factory=list)
    down: Exception | None = None
    await_point: Callable[[], None] = lambda: None
    on_put: Callable[[str | None, Decision, tuple[str, ...]], None] = lambda *_: None
    on_look: Callable[[Mapping[str, Membership]], None] = lambda *_: None

    def session(self, identity: Identity) -> "FakeCloud":
        assert identity.project_id == PROJECT
        return self

    def given_token_end(self, identity: Identity) -> GivenTokenEnd | None:
        del identity
        return self.token_end

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        assert identity.project_id == PROJECT
        self.login_history.append(refused_login)

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> Submission:
        del vault_id, retry_group
        self._meet()
        self.puts.append(images)
        for image in images:
            if image in self.refusals:
                self.on_put(None, decision, images)
                raise self.refusals[image]
        fate = self.fates.pop(0) if self.fates else self.usual
        job_id = f"{len(self.jobs):032x}"
        self.jobs[job_id] = self._job(decision, images, fate)
        self.on_put(job_id, decision, images)
        self.await_point()
        if fate.lost or self.lost:
            self.lost = max(0, self.lost - 1)
            raise OutcomeUnknownError("connection lost after the batch was taken")
        return job_id

    def _job(self, decision: Decision, images: tuple[str, ...], fate: Fate) -> FakeJob:
        applies = images if fate.applied is None else _last(images, fate.applied)
        named = (*images[: fate.named], *(IMAGES[-1:] if fate.foreign else ()))
        bad = [image for image in images if image in self.spoiled]
        if bad:
            code, is_named = self.spoiled[bad[0]]
            fate = replace(fate, state=JobState.FAIL, code=code)
            named = tuple(bad) if is_named else ()
            applies = tuple(set(images) - set(bad)) if is_named else ()
        report = JobReport(
            state=fate.state,
            error_code=fate.code,
            fail_reason="broken" if fate.state is JobState.FAIL else None,
            failed_rows=dict.fromkeys(named, ROW_FAILED),
        )
        for image in [image for image in images if self.odd_rows.get(image)]:
            self.odd_rows[image] -= 1
            report = JobReport(state=JobState.SUCCESS, failed_rows={image: ROW_FAILED})
            applies = tuple(set(applies) - {image})
        return FakeJob(
            images=images,
            decision=decision,
            ready_at=self.clock.at + (self.job_takes if fate.takes is None else fate.takes),
            report=report,
            applies=() if self.inert else applies,
            fate=fate,
        )

    async def job(self, job_id: str) -> JobReport:
        self._meet()
        self.polls += 1
        self._settle()
        job = self.jobs.get(job_id)
        if job is None or job.fate.forgotten:
            raise JobUnknownError("HTTP 400 IMG.0023")
        self.await_point()
        if job.ready_at <= self.clock.at:
            return job.report
        return JobReport(state=JobState.RUNNING, odd_status=job.fate.odd)

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        return {image: self.named[image] for image in images if image in self.named}

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership | CloudError]:
        del max_age
        self._meet()
        self._settle()
        self.looks += 1
        shown = self.shares | self.stale
        seen = {image: shown.get(image, Membership.NOT_SHARED) for image in images}
        self.on_look(seen)
        self.await_point()
        results = {image: self.unreadable.get(image, seen[image]) for image in images}
        raise_common_error(results.values())
        return results

    async def list_shares(self, owners: tuple[str, ...], max_age: timedelta) -> tuple[Share, ...]:
        del owners  # rows of any owner, as a server may return them
        self._meet()
        self._settle()
        self.lists += 1
        self.list_ages.append(max_age)
        shown = self.shares | self.stale
        return tuple(
            replace(offer, membership=shown[image])
            for image, offer in self.offers.items()
            if image in shown and image not in self.unlisted
        )

    def publish(self, image: str, name: str, **details: Any) -> None:
        """Share a new image, or change the details of one."""
        new = Share(
            id=image,
            name=name,
            membership=Membership.PENDING,
            owner=OWNER,
            created_at=self.clock.at.replace(microsecond=0),  # the precision of a list
            status="active",
        )
        self.offers[image] = replace(self.offers.get(image, new), name=name, **details)
        self.shares.setdefault(image, Membership.PENDING)

    def set_by_hand(self, image: str, membership: Membership | None) -> None:
        """Change a share behind the operator's back; ``None`` takes it away."""
        self._settle()
        self.stale.pop(image, None)
        if membership is None:
            self.shares.pop(image, None)
        else:
            self.shares[image] = membership

    def end_stuck_jobs(self) -> None:
        """What never ended succeeds now."""
        for job in self.jobs.values():
            job.ready_at = min(job.ready_at, self.clock.at + SECOND)

    def outstanding(self, image: str) -> Membership | None:
        """What the image will be when all jobs are through."""
        self._settle()
        value = self.shares.get(image)
        for job in self.jobs.values():
            if value is not None and not job.applied and image in job.applies:
                value = job.decision.wanted
        return value

    def _settle(self) -> None:
        """Apply in the order in which the jobs settle; show in the order of the lags."""
        for job in sorted(self.jobs.values(), key=lambda job: job.ready_at):
            if job.applied or job.ready_at > self.clock.at:
                continue
            job.applied = True
            for image in job.applies:
                if image in self.shares:
                    self.stale.setdefault(image, self.shares[image])
                    self.shares[image] = job.decision.wanted
                    self.showing.append((job.ready_at + job.fate.lag, image))
        for at, image in self.showing:
            if at <= self.clock.at:
                self.stale.pop(image, None)
        self.showing = [row for row in self.showing if row[0] > self.clock.at]

    def _meet(self) -> None:
        self.await_point()
        self.calls += 1
        failure = self.down or (self.fails.pop(0) if self.fails else None)
        if failure is not None:
            raise failure


class FakeGlance(FakeCloud):
    """A cloud without jobs: each image is set at once, or has the error of ``refusals``."""

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> Submission:
        del vault_id, retry_group
        self._meet()
        self.puts.append(images)
        results: dict[str, Membership | CloudError] = {}
        for image in images:
            results[image] = self.refusals.get(image) or Membership.NOT_SHARED
            if image in self.shares and image not in self.refusals:
                results[image] = self.shares[image] = decision.wanted
        raise_common_error(results.values())
        return results


def _last(images: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The last ``count`` images; all but the first ``-count`` when it is negative."""
    return images[-count:] if count else ()


def batch_refusal(status: int, code: str | None = None) -> CloudError:
    """The error of `ImsClient` for a PUT that IMS refused."""
    request = httpx.Request("PUT", "https://ims.test/v1/cloudimages/members")
    body = {"error": {"code": code, "message": "why"}}
    return batch_error(parse_refusal(httpx.Response(status, json=body, request=request)))


@dataclass
class FakeIms:
    """`ImsClient`, with the shares of one project, on the clock of the event loop.

    Attributes:
        members: the shares of the project.
        job_s: how long a job takes.
        latency_s: how long a request takes; a page of a list takes five times as long.
        slow_puts: how long the next PUTs take instead.
        largest: images in the largest batch that is accepted.
        failing: images for which a batch is refused with ``refusal``.
        error: raised by each PUT and each poll while it is set.
        read_errors: why the membership of an image can't be read.
        list_error: raised by each list while it is set.
        hides_pending: whether a typed list of pending shares is empty.
        after_page: by the number of the page, an image that changes after it was read.
    """

    members: dict[str, Membership] = field(default_factory=dict)
    job_s: float = 1.0
    latency_s: float = 0
    slow_puts: list[float] = field(default_factory=list)
    largest: int = 1000
    failing: frozenset[str] = frozenset()
    refusal: Exception = field(default_factory=lambda: batch_refusal(400, "IMG.0027"))
    error: Exception | None = None
    read_errors: dict[str, CloudError] = field(default_factory=dict)
    list_error: CloudError | None = None
    hides_pending: bool = False
    page_limit: int = PAGE_SIZE
    after_page: dict[int, tuple[str, Membership]] = field(default_factory=dict)
    authorization: Any = None
    puts: list[tuple[str, ...]] = field(default_factory=list)
    kinds: set[tuple[Decision, str | None]] = field(default_factory=set)
    jobs: dict[str, tuple[float, JobReport, Mapping[str, Membership]]] = field(default_factory=dict)
    polls: int = 0
    reads: list[str] = field(default_factory=list)
    reading: int = 0
    most_reading: int = 0
    pages: int = 0

    def shared_session(self, batching: BatchSettings) -> CloudSession:
        return CloudSession(self, batching)  # type: ignore[arg-type]  # as an ImsClient

    async def update_members(
        self, decision: Decision, vault_id: str | None, images: tuple[str, ...]
    ) -> str:
        await _take(self.slow_puts.pop(0) if self.slow_puts else self.latency_s)
        self.puts.append(images)
        self.kinds.add((decision, vault_id))
        report, applies = self.result(images)
        job_id = f"job-{len(self.puts)}"
        ends_s = asyncio.get_running_loop().time() + self.job_s
        self.jobs[job_id] = ends_s, report, dict.fromkeys(applies, decision.wanted)
        return job_id

    def result(self, images: tuple[str, ...]) -> tuple[JobReport, tuple[str, ...]]:
        """What a batch comes to, and the images that change; raises what refuses it."""
        if self.error is not None:
            raise self.error
        if len(images) > self.largest:
            raise batch_refusal(413)
        if self.failing & set(images):
            raise self.refusal
        return JobReport(state=JobState.SUCCESS), images

    async def job(self, job_id: str) -> JobReport:
        await _take(self.latency_s)
        self.polls += 1
        if self.error is not None:
            raise self.error
        ends_s, report, changes = self.jobs[job_id]
        if asyncio.get_running_loop().time() < ends_s:
            return JobReport(state=JobState.RUNNING)
        self.members.update(changes)
        return report

    async def member(self, image: str) -> Membership:
        self.reading += 1
        self.most_reading = max(self.most_reading, self.reading)
        await _take(self.latency_s)
        self.reading -= 1
        self.reads.append(image)
        if image in self.read_errors:
            raise self.read_errors[image]
        return self.members.get(image, Membership.NOT_SHARED)

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> SharePage:
        await _take(5 * self.latency_s)
        self.pages += 1
        if self.list_error is not None:
            raise self.list_error
        rows = sorted(image for image, one in self.members.items() if one is membership)
        if membership is Membership.PENDING and typed and self.hides_pending:
            rows = []
        if marker is not None and marker not in rows:
            raise TerminalError("HTTP 400: unknown marker", reason=Reason.INVALID_REQUEST)
        rows = [image for image in rows if marker is None or image > marker]
        rows = rows[: min(limit, self.page_limit)]
        if self.pages in self.after_page:
            image, moved = self.after_page[self.pages]
            self.members[image] = moved
        return SharePage(
            images=tuple(rows),
            rows=len(rows),
            marker=rows[-1] if rows else None,
            raw={image: {"name": f"name of {image}", "owner": "b"} for image in rows},
        )


async def _take(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


Answer = Callable[[httpx.Request], httpx.Response]
"""How a fake cloud answers a request."""


def says(status: int, code: str, text: str = "", date: datetime | None = None) -> Answer:
    """An answer of the cloud that refuses a request."""
    headers = {} if date is None else {"Date": format_datetime(date, usegmt=True)}
    body = {"error_code": code, "error_msg": text}
    return lambda _: httpx.Response(status, json=body, headers=headers)


class FakeHttpCloud:
    """IAM and IMS behind httpx, and the real sessions with them.

    Attributes:
        logins: the project of each login, in order.
        calls: the requests to IMS.
        login: responds to a login for a project.
        shown: responds to a request that checks a token; by default IAM shows no tokens.
        ims: responds to all other requests.
        http_client: sends the requests.
    """

    def __init__(
        self,
        ims: Callable[[httpx.Request], httpx.Response],
        *,
        latency_s: float = 0,
        **options: Any,
    ) -> None:
        self.clock = Clock()
        self.ims = ims
        self.login: Callable[[str], httpx.Response] = self.token
        self.shown: Answer = lambda _: httpx.Response(404)
        self.life = timedelta(days=1)
        self.logins: list[str] = []
        self.calls: list[httpx.Request] = []
        self._latency_s = latency_s
        self.http_client = CloudHttpClient(
            client=httpx.AsyncClient(transport=httpx.MockTransport(self._serve)),
            timeout=timedelta(seconds=60),
            circuits=CircuitBreakers(self.clock.now, lambda: 1.0),
        )
        batching = BatchSettings(window=timedelta(), images=50)
        self.sessions = Sessions(self.http_client, self.clock.now, batching, **options)

    async def _serve(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(self._latency_s)
        if request.url.path != "/v3/auth/tokens":
            self.calls.append(request)
            return self.ims(request)
        if request.method == "GET":
            return self.shown(request)
        project: str = json.loads(request.content)["auth"]["scope"]["project"]["id"]
        self.logins.append(project)
        return self.login(project)

    def token(self, project: str) -> httpx.Response:
        """A new token, which lasts for ``life``."""
        return httpx.Response(
            201,
            headers={"X-Subject-Token": f"token-{len(self.logins)}-{project}"},
            json={"token": {"expires_at": (self.clock.at + self.life).isoformat()}},
        )

    async def read_as(self, identity: Identity) -> CloudError | None:
        """Read a pending membership; return the error, if any."""
        try:
            found = await self.sessions.session(identity).members(IMAGES[:1], timedelta())
        except CloudError as exc:
            return exc
        assert found == {IMAGES[0]: Membership.PENDING}
        return None

    @staticmethod
    def identity(
        credentials: Credentials, project: str = PROJECT, **changes: str | None
    ) -> Identity:
        endpoints = Endpoints(
            iam=changes.get("iam") or "https://iam.test",
            ims=changes.get("ims") or "https://ims.test",
        )
        return Identity(
            credentials=credentials, project_id=project, endpoints=endpoints, ca=changes.get("ca")
        )


class FakeSessions:
    """The cloud of a `Reconciler`: a session for each project."""

    token_end: GivenTokenEnd | None = None

    def __init__(self, session: Callable[[str], CloudSession]) -> None:
        self._new = session
        self._known: dict[str, CloudSession] = {}

    def session(self, identity: Identity) -> CloudSession:
        project = identity.project_id
        if project not in self._known:
            self._known[project] = self._new(project)
        return self._known[project]

    def given_token_end(self, identity: Identity) -> GivenTokenEnd | None:
        del identity
        return self.token_end

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        raise AssertionError(identity, refused_login)


@dataclass(frozen=True, slots=True)
class Seen:
    """An event of the watch."""

    body: Mapping[str, Any]
    deleted: bool = False


@dataclass
class FakeKube:
    """Objects on an API server that counts their versions. ``fails`` as in `FakeCloud`.

    Attributes:
        body: the object of most tests, also after it is gone.
        others: further objects.
        offers: the images of ``shares`` that lists have, with their details.
        unlisted: images that are left out of lists, and are shared.
        lists: number of lists that were read.
        lost: answers of the next writes that are lost after the write was taken.
        unanswered: whether the answer to the latest write was lost.
        denied: what each change of the finalizer raises; ``None`` when it is allowed.
        watch: all events of ``body``, oldest first.
    """

    body: Json = field(default_factory=lambda: new_object(spec()))
    others: dict[Key, Json] = field(default_factory=dict)
    writes: list[Json] = field(default_factory=list)
    written: Counter[Key] = field(default_factory=Counter)
    fails: list[Exception | None] = field(default_factory=list)
    lost: int = 0
    unanswered: bool = False
    released: bool = False
    denied: Exception | None = None
    gone: bool = False
    terminating: bool = False
    namespace_looks: int = 0
    watch: list[Seen] = field(default_factory=list)
    while_read: Callable[[], object] = lambda: None
    await_point: Callable[[], None] = lambda: None
    on_write: Callable[[Mapping[str, Any]], None] = lambda *_: None
    on_release: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.watch.append(Seen(self.body))

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    async def read(self, key: Key) -> Mapping[str, Any]:
        self.await_point()
        body = self._find(key)
        self.while_read()
        return body

    async def write_status(
        self, key: Key, version: int, status: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        self.await_point()
        lost = self.lost > 0 and not self.fails
        failure = self.fails.pop(0) if self.fails else None
        if failure is not None:
            raise failure
        if str(version) != self._find(key)["metadata"]["resourceVersion"]:
            raise KubeConflictError("HTTP 409")
        stored: Json = json.loads(json.dumps(status))
        assert all(row["status"] in ("True", "False", "Unknown") for row in stored["conditions"])
        self.on_write(stored)
        self.writes.append(stored)
        self.written[key] += 1
        body = self.changed(key, status=stored)
        self.unanswered = lost
        self.await_point()
        if lost:
            self.lost -= 1
            raise KubeRetryableError("connection reset after the write was taken")
        return body

    @staticmethod
    def check_event(event: Event) -> None:
        """Check what the API server requires of an Event, and that it names its object."""
        assert event.uid
        assert event.generation
        assert event.type
        assert event.reason
        assert event.action
        assert event.note

    async def add_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        self._change_finalizer(key, uid)
        return self.changed(key, metadata={"finalizers": [FINALIZER]})

    async def remove_finalizer(self, key: Key, uid: str) -> Mapping[str, Any]:
        self._change_finalizer(key, uid)
        self.on_release()
        self.released = True
        body = self.changed(key, metadata={"finalizers": None})
        if "deletionTimestamp" in body["metadata"]:
            self.remove(key)
        return body

    def _change_finalizer(self, key: Key, uid: str) -> None:
        self.await_point()
        if self.denied is not None:
            raise self.denied
        if self._find(key)["metadata"]["uid"] != uid:
            raise ObjectGoneError("another object has the name")

    def _find(self, key: Key) -> Json:
        if key in self.others:
            return self.others[key]
        if key != KEY or self.gone:
            raise ObjectGoneError("no such object")
        return self.body

    async def namespace_terminating(self, namespace: str) -> bool:
        assert namespace in {key.namespace for key in (KEY, *self.others)}
        self.namespace_looks += 1
        return self.terminating

    def add(self, wanted: Mapping[str, Any], key: Key) -> Json:
        """Create a further object."""
        self.others[key] = new_object(wanted, key, uid=f"uid-{key}")
        return self.others[key]

    def changed(
        self, key: Key = KEY, *, metadata: Mapping[str, Any] | None = None, **parts: Any
    ) -> Json:
        """Replace parts; metadata is merged: a generation is added, ``None`` removes a field."""
        old = self._find(key)
        merged = {**old["metadata"], **(metadata or {})}
        merged = {name: value for name, value in merged.items() if value is not None}
        more = (metadata or {}).get("generation", 0) + ("spec" in parts)
        merged["generation"] = old["metadata"]["generation"] + more
        merged["resourceVersion"] = str(int(merged["resourceVersion"]) + 1)
        body = {**old, **parts, "metadata": merged}
        if key in self.others:
            self.others[key] = body
        else:
            self.body = body
            self.watch.append(Seen(body))
        return body

    def remove(self, key: Key = KEY) -> None:
        """It is gone: the watch tells it, with its last version."""
        if self.others.pop(key, None) is not None:
            return
        self.gone = True
        self.watch.append(Seen(self.body, deleted=True))

    def replaced(self, wanted: Mapping[str, Any]) -> Json:
        """Another object takes the name."""
        self.gone = False
        old = self.body["metadata"]
        new = new_object(wanted, uid=f"u{int(old['uid'][1:]) + 1}")
        new["metadata"] |= {"resourceVersion": old["resourceVersion"], "generation": 0}
        self.body = new
        return self.changed(spec=dict(wanted))


def given_token(namespace: str) -> Credentials:
    """A token of its own for each namespace."""
    return TokenCredentials(token=f"token-of-{namespace}")


@dataclass
class FakeCredentials:
    """Secrets; ``error`` is raised while it is set.

    Attributes:
        of: the credentials of a namespace.
        meanwhile: what happens while one is read: one for each read.
        namespaces: where Secrets were read.
    """

    version: str = "1"
    of: Callable[[str], Credentials] = given_token
    namespaces: set[str] = field(default_factory=set)
    error: Exception | None = None
    reads: int = 0
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    await_point: Callable[[], None] = lambda: None

    async def get(self, namespace: str, ref: CredentialsRef) -> LoadedCredentials:
        self.await_point()
        assert ref == SecretRef(name="otc")
        self.reads += 1
        self.namespaces.add(namespace)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.error is not None:
            raise self.error
        return LoadedCredentials(credentials=self.of(namespace), version=self.version)
