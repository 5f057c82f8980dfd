"""What a pass knows and what it may do next, as data. The decisions are in `planner.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from image_share_operator.api.jobs import NO_PEERS, BatchPeers, RetryGroup
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ImageStatus, Job, Membership, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that a pass knows so far.

    Attributes:
        status: the last known status, whether written or not.
        job_asked: whether ``status.job`` was asked of the cloud in this pass.
        job_unknown: whether the cloud said that it does not know this job.
        failed_rows: images that the settled job itself reported as failed, with its words.
        company: who else the failed job may have failed for.
        retryable: whether the failure of the job may pass by itself.
        divisible: whether a smaller batch may succeed where the failed job did not.
        members: fresh memberships of all images of the spec; ``None`` before they were looked at.
        refused: images whose own PUT the cloud refused in this pass, with its words.
        settled_at: when the job was first seen settled; ``None`` when it was not, or before a
            restart.
        retry_at: when failed images may be sent again; ``None`` when nobody decided yet.
        failures: tries in a row that came to nothing, this pass not counted.
        batch_limit: images that the next PUT may carry.
        typical: how long jobs of late took to settle.
        jitter: 0-1, drawn once for the pass.
    """

    status: Status
    job_asked: bool = False
    job_unknown: bool = False
    failed_rows: Mapping[str, str] = field(default_factory=dict[str, str])
    batch_peers: BatchPeers = NO_PEERS
    retryable: bool = False
    divisible: bool = True
    members: Mapping[str, Membership] | None = None
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    settled_at: datetime | None = None
    retry_at: datetime | None = None
    failures: int = 0
    batch_limit: int = 50
    typical_duration: timedelta = timedelta(seconds=1)
    jitter: float = 0.5

    @property
    def job(self) -> Job | None:
        """The latest job, unless the cloud does not know it any more."""
        return None if self.job_unknown else self.status.job


class ImageState(Enum):
    """Where one image stands."""

    DONE = auto()
    """It has the wanted membership."""
    NOT_SHARED = auto()
    """There is no share to answer (yet)."""
    TO_SUBMIT = auto()
    """It must be sent."""
    DRIFTED = auto()
    """It was done, and someone changed it: it must be sent again."""
    SETTLING = auto()
    """Its job succeeded; the membership may show a little later."""
    IN_DOUBT = auto()
    """It was sent and no answer came: it may have been taken, and show a little later."""
    CANDIDATE = auto()
    """Its job failed without naming the culprit: it may be innocent."""
    FAILED = auto()
    """It was sent and did not come true; a person or a later try must help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one image.

    Attributes:
        message: why it failed or is waited for.
        leftover_of: the failed job that carried it, when it is left over from its division.
    """

    image: str
    state: ImageState
    membership: Membership
    message: str | None = None
    failed_job_id: str | None = None


class Progress(Enum):
    """What happens if nobody does anything."""

    SETTLED = auto()
    """Nothing is left to do."""
    RECONCILING = auto()
    """The operator goes on by itself."""
    STALLED = auto()
    """Someone must change the spec, the Secret or the cloud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadySummary:
    """What the conditions shall say.

    Attributes:
        ready: the status of the Ready condition: True, False or Unknown.
        moving: the reason of Reconciling where it is not ``reason``.
    """

    ready: str
    reason: Reason
    message: str
    progress: Progress
    reconciling_reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class PollJob:
    """Ask the cloud for the job."""

    job: Job


@dataclass(frozen=True, slots=True)
class ReadMemberships:
    """Ask the cloud for the memberships of these images."""

    images: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Send one batch: at most `Observation.batch_limit` images of the spec.

    Attributes:
        verdicts: of all images of the spec, in its order.
        leftover: where they come from when they are left over from another batch.
    """

    images: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    retry_group: RetryGroup | None = None

    @property
    def drifted(self) -> tuple[str, ...]:
        """The images that someone changed behind the operator's back."""
        return tuple(v.image for v in self.verdicts if v.state is ImageState.DRIFTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Say where things stand and come back later.

    Attributes:
        images: the rows to report; ``None`` leaves the known ones as they are.
        again: until the next pass; ``None`` for none without a change.
        retry_at: see `Observation.retry_at`.
        finished: whether a resource that is being deleted may go.
    """

    ready_summary: ReadySummary
    requeue_after: timedelta | None
    images: tuple[ImageStatus, ...] | None = None
    retry_at: datetime | None = None
    finished: bool = False


Step = PollJob | ReadMemberships | Submit | Report
