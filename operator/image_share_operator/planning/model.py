"""What a reconcile has observed and which steps there are, as data. `planner.py` decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from image_share_operator.api.credentials import GivenTokenEnd
from image_share_operator.api.errors import CloudError, RetryableError
from image_share_operator.api.jobs import UNKNOWN_PEERS, BatchPeers, RetryGroup
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Desired, ImageStatus, Job, Membership, Status
from image_share_operator.planning.selection import Selection


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshMembers:
    """Memberships for the next reconcile, which continues the work of this one.

    Attributes:
        results: as they were read or set; the error of an image that could not be read.
        refused: why an image could not be set.
        until: after that they are read again; aware UTC.
    """

    results: Mapping[str, Membership | CloudError]
    refused: Mapping[str, CloudError]
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeState:
    """What a process may lose in a restart; everything that must survive is in the status.

    A reconcile takes it from the object store, changes it as part of its `Observation`, and stores
    it again: a new fact needs a field here and the lines that set and use it, nothing else.

    Attributes:
        generation: the spec of the last reconcile; -1 before the first one.
        next_check_at: no request is sent to the cloud before; ``None`` for not before a change.
        secret_version: the Secret of the last reconcile, where only a change of it (or of the
            spec) helps; ``None`` where it does not matter.
        retry_at: when failed images may be sent again; ``None`` when not yet decided.
        settled_at: when the latest job was first seen settled; ``None`` when it was not, or before
            a restart.
        failed_rows: images that this job reported as failed, with its message for each.
        batch_peers: whether this job, when it failed, carried images of other resources.
        began_at: when its spec was first seen, or Ready was lost; ``None`` while it is Ready.
        errors: reconciles in a row that ended in an error.
        tries: retried jobs in a row that failed.
        token_end: when the token of the Secret ends; ``None`` for other credentials.
        one_by_one: whether the next batch has one image: responses of 5xx may be about an image.
        fresh: ``None`` unless the last reconcile left images for this one, in a cloud without jobs.
    """

    generation: int = -1
    next_check_at: datetime | None = None
    secret_version: str | None = None
    retry_at: datetime | None = None
    settled_at: datetime | None = None
    failed_rows: Mapping[str, str] = field(default_factory=dict[str, str])
    batch_peers: BatchPeers = UNKNOWN_PEERS
    began_at: datetime | None = None
    errors: int = 0
    tries: int = 0
    one_by_one: bool = False
    token_end: GivenTokenEnd | None = None
    fresh: FreshMembers | None = None

    def retry_is_due(self, now: datetime) -> bool:
        """Whether failed images may be sent again now."""
        return self.retry_at is not None and now >= self.retry_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that a reconcile knows so far.

    Attributes:
        status: the last known status, whether written or not.
        runtime: what the process knows beside it.
        job_asked: whether ``status.job`` was polled in this reconcile.
        job_unknown: whether the cloud reported that it does not know this job.
        retryable: whether the failure of the job is transient.
        divisible: whether a smaller batch may succeed where the failed job did not.
        selection: what the selector of the spec selects; ``None`` before the list was read, and for
            a spec that lists its images.
        removed: images that are rejected because the resource accepted them and no longer selects
            them.
        members: memberships of the images that are selected or removed; ``None`` before they were
            read.
        unreadable: why a membership could not be read, for each such image.
        released: images whose job did not accept them; see `image_rows.released`.
        refused: why the cloud refused a PUT in this reconcile, for each image that was sent alone.
        set_without_job: whether a cloud without jobs set memberships in this reconcile.
        conflicts: images that another resource is in charge of, with the message of each.
        opposite_orders: images for which another resource of this operator submitted the opposite
            decision latest. It may still take effect, and its effect is no drift.
        batch_limit: images that the next PUT may carry.
        typical_duration: how long recent jobs took to settle.
        jitter: 0-1, drawn once per reconcile.
    """

    status: Status
    runtime: RuntimeState = field(default_factory=RuntimeState)
    job_asked: bool = False
    job_unknown: bool = False
    retryable: bool = False
    divisible: bool = True
    selection: Selection | None = None
    removed: tuple[str, ...] = ()
    members: Mapping[str, Membership] | None = None
    unreadable: Mapping[str, CloudError] = field(default_factory=dict[str, CloudError])
    released: frozenset[str] = frozenset()
    refused: Mapping[str, CloudError] = field(default_factory=dict[str, CloudError])
    set_without_job: bool = False
    conflicts: Mapping[str, str] = field(default_factory=dict[str, str])
    opposite_orders: frozenset[str] = frozenset()
    batch_limit: int = 50
    typical_duration: timedelta = timedelta(seconds=1)
    jitter: float = 0.5

    @property
    def job(self) -> Job | None:
        """The latest job; ``None`` when the cloud no longer knows it."""
        return None if self.job_unknown else self.status.job

    @property
    def read_again(self) -> bool:
        """Whether a membership could not be read with a transient error."""
        return any(isinstance(error, RetryableError) for error in self.unreadable.values())

    def continuing(self, fresh: FreshMembers) -> "Observation":
        """Add what the reconcile before has read and set."""
        return replace(self.with_results(fresh.results), refused=fresh.refused)

    def with_results(self, results: Mapping[str, Membership | CloudError]) -> "Observation":
        """Add what was read of each image of the spec."""
        return replace(
            self,
            members={i: one for i, one in results.items() if isinstance(one, Membership)},
            unreadable={i: one for i, one in results.items() if isinstance(one, CloudError)},
        )


class ImageState(Enum):
    """The state of one image; the rules are in `planner.py`."""

    CONFLICT = auto()
    """An older resource has the opposite decision for it: nothing is sent."""
    DONE = auto()
    """It has the wanted membership."""
    UNREADABLE = auto()
    """Its membership can't be read: nothing is sent for it, and it does not keep back others."""
    NOT_SHARED = auto()
    """There is no share to accept or reject."""
    TO_SUBMIT = auto()
    """It is sent with the next batch."""
    DRIFTED = auto()
    """It was done and another client changed it: it is sent again."""
    SETTLING = auto()
    """Its job succeeded; the membership may follow a little later."""
    IN_DOUBT = auto()
    """It was sent and no response came: the batch may still take effect."""
    OVERDUE = auto()
    """Its job did not end within ``spec.timeout``: it is not sent again before the spec changes."""
    CANDIDATE = auto()
    """Its job failed without naming the failing image: it may be this one."""
    FAILED = auto()
    """It was sent without effect; a person or a later retry must help."""


FAILING = frozenset({ImageState.FAILED, ImageState.UNREADABLE})
"""States that make a resource not Ready and are no step towards it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The state of one image and why.

    Attributes:
        message: why it failed or what it waits for.
        failed_job_id: the failed job that carried it, when bisection of that job is not finished.
    """

    image: str
    state: ImageState
    membership: Membership
    message: str | None = None
    failed_job_id: str | None = None


class Progress(Enum):
    """What happens without a change from outside."""

    SETTLED = auto()
    """Nothing is left to do."""
    RECONCILING = auto()
    """The operator continues automatically."""
    STALLED = auto()
    """Someone must change the spec, the Secret or the cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySummary:
    """What the conditions report.

    Attributes:
        ready: the status of the Ready condition: True, False or Unknown.
        reconciling_reason: the reason of Reconciling where it is not ``reason``.
    """

    ready: str
    reason: Reason
    message: str
    progress: Progress
    reconciling_reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class PollJob:
    """Poll the job."""

    job: Job


@dataclass(frozen=True, slots=True)
class ListShares:
    """List the images that these projects share, and select some of them."""

    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReadMemberships:
    """Read the memberships of these images."""

    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Send one batch: up to `Observation.batch_limit` images.

    Attributes:
        desired: what is sent for them: the desired state of the resource, or that of `removal`.
        verdicts: of all images of ``desired``, in its order.
        retry_group: set for images of a failed batch, which are not mixed with others.
    """

    desired: Desired
    images: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    retry_group: RetryGroup | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        """The images whose membership another client changed."""
        return tuple(v.image for v in self.verdicts if v.state is ImageState.DRIFTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Report the conditions and requeue.

    Attributes:
        images: the rows to report; ``None`` keeps the known ones.
        requeue_after: until the next reconcile; ``None`` for not before a change.
        retry_at: see `RuntimeState.retry_at`.
        finished: whether the finalizer may be removed from a resource that is being deleted.
        continues: whether the next reconcile uses the memberships of this one.
    """

    ready_summary: ReadySummary
    requeue_after: timedelta | None
    images: tuple[ImageStatus, ...] | None = None
    retry_at: datetime | None = None
    finished: bool = False
    continues: bool = False


Step = PollJob | ListShares | ReadMemberships | Submit | Report
