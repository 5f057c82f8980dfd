"""What is known of a batch job and of the images that it carried. No I/O, no clock."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from image_share_operator.api.types import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """What the cloud says of a job.

    Attributes:
        odd_status: the status word when it is none of `JobState`; such a job counts as running.
        failed_rows: images that the settled job names as not done, with its words.
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
    """What is known of a failed job beyond its state.

    Attributes:
        shared: whether it carried images of other resources, or may have: an only suspect is not
            guilty then.
        named: whether it named culprits, ours or others'.
    """

    shared: bool = True
    named: bool = False


NO_PEERS = BatchPeers(shared=False)
UNKNOWN_PEERS = BatchPeers()
"""As after a restart: nobody knows."""


@functools.cache
def batch_peers(*, shared: bool, named: bool) -> BatchPeers:
    """One of the four that there are: each object keeps one for good."""
    return BatchPeers(shared=shared, named=named)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryGroup:
    """Images that did not get through in a batch: they travel apart from others.

    Attributes:
        job_id: the failed job that carried them; ``None`` when the batch was refused, and what
            is left of it is sent alone.
        suspect: whether each of them may be what spoiled the batch.
        retry: whether it is time to try all of the batch again.
    """

    job_id: str | None
    candidate: bool
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureClass:
    """What the error code of a failed job says about trying again.

    Attributes:
        retryable: the failure may pass by itself.
        divisible: a smaller batch may succeed.
    """

    retryable: bool
    divisible: bool
