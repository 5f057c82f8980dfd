"""What is known of a batch job and of the images that it carried. No I/O, no clock."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from image_share_operator.api.errors import CloudError
from image_share_operator.api.types import JobState, Membership

Submission = str | Mapping[str, Membership | CloudError]
"""The result of a submission. In a cloud with jobs, it is the ID of the job that sets the
memberships. In a cloud without jobs, it has the new membership or the error of each image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A job as the cloud reports it.

    Attributes:
        odd_status: the status word when it is none of `JobState`; such a job counts as running.
        failed_rows: images that the settled job reports as failed, with its message for each.
        shared: whether the batch carried images of other resources, or may have.
    """

    state: JobState
    odd_status: str | None = None
    type: str | None = None
    begin_time: str | None = None
    end_time: str | None = None
    error_code: str | None = None
    fail_reason: str | None = None
    failed_rows: Mapping[str, str] = field(default_factory=dict[str, str])
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPeers:
    """Whether a failed job carried images of other resources.

    Attributes:
        shared: whether it did, or may have: a single candidate need not be the failing image then.
        named: whether the job named failing images, of this resource or of others.
    """

    shared: bool = True
    named: bool = False


UNKNOWN_PEERS = BatchPeers()
"""As after a restart: not known."""


@functools.cache
def batch_peers(*, shared: bool, named: bool) -> BatchPeers:
    """One of the four values, shared by all objects that keep it."""
    return BatchPeers(shared=shared, named=named)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGroup:
    """Images of a failed batch: they are not mixed with others.

    Attributes:
        job_id: the failed job that carried them; ``None`` when the batch was refused and
            its images are sent alone.
        candidate: whether each of them may be the failing image.
        retry: whether it is time to try all of the batch again.
    """

    job_id: str | None
    candidate: bool
    retry: bool = False


REFUSED = RetryGroup(job_id=None, candidate=True)
"""Images of one resource that are sent apart from those of others: one of them is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureClass:
    """What the error code of a failed job means for retries.

    Attributes:
        retryable: the failure is transient.
        divisible: a smaller batch may succeed.
    """

    retryable: bool
    divisible: bool
