"""What earlier batches of one identity showed. No I/O; times are the event loop's."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from cachetools import FIFOCache, LRUCache

from image_share_operator.api.errors import RefusedForNowError
from image_share_operator.flowcontrol import backoff

MAX_JOBS = 5_000
"""Jobs whose images are kept. The images of older jobs are unknown, as after a restart."""
MAX_IMAGES = 20_000
"""Images whose refusals are counted. The least recently refused ones start at zero again."""
JOINABLE_S = 25.0
"""How long after its start a job serves later requests, in seconds. The shortest ``spec.timeout``
is 30 s: after that, a change of the spec must send a new job."""
REGROWTH_S = 3600.0
"""Time in seconds after which a batch size that was too large doubles again, up to the configured
size. Each attempt that is still too large costs a refused request."""


@dataclass(slots=True)
class BatchRecord:
    """The images that a job carried.

    Attributes:
        requests: the images of each request (resource), in the order of the batch.
        bisected: whether the job failed and its halves were sent as batches.
    """

    requests: tuple[tuple[str, ...], ...]
    bisected: bool = False

    @property
    def images(self) -> frozenset[str]:
        """All images of the job."""
        return frozenset(chain.from_iterable(self.requests))


class BatchHistory:
    """The images of the latest jobs."""

    def __init__(self) -> None:
        self._known: FIFOCache[str, BatchRecord] = FIFOCache(MAX_JOBS)

    def get(self, job_id: str) -> BatchRecord | None:
        """The images of a job; ``None`` for a job of an earlier process."""
        return self._known.get(job_id)

    def add(self, job_id: str, requests: Iterable[tuple[str, ...]]) -> None:
        """Record the images of a job, by request."""
        self._known[job_id] = BatchRecord(tuple(requests))

    def join(self, job_id: str, images: tuple[str, ...]) -> None:
        """Record a request that a running job serves too; not a second one with these images."""
        record = self._known.get(job_id)
        if record is not None and images not in record.requests:
            record.requests += (images,)


@dataclass(frozen=True, slots=True)
class _Order:
    """The latest job of an image. Times are the event loop's."""

    job_id: str
    effect: object
    sent_at: float


class RunningJobs:
    """The job that carries each image, while it has not settled."""

    def __init__(self) -> None:
        self._latest: LRUCache[str, _Order] = LRUCache(MAX_IMAGES)

    def started(self, job_id: str, effect: object, images: Iterable[str]) -> None:
        """Record a new job.

        Args:
            effect: what it does with the images; compared with that of later requests.
        """
        order = _Order(job_id, effect, asyncio.get_running_loop().time())
        for image in images:
            self._latest[image] = order

    def settled(self, job_id: str, images: Iterable[str]) -> None:
        """Forget a job; not the newer jobs of its images."""
        for image in images:
            order = self._latest.get(image)
            if order is not None and order.job_id == job_id:
                del self._latest[image]

    def of(self, effect: object, images: Sequence[str]) -> str | None:
        """The job that does the same with all of the images; ``None`` when there is none."""
        orders = {self._latest.get(image) for image in images}
        order = orders.pop()
        if order is None or orders or order.effect != effect:
            return None
        is_young = asyncio.get_running_loop().time() < order.sent_at + JOINABLE_S
        return order.job_id if is_young else None


@dataclass(slots=True)
class BatchLimit:
    """How many images a batch may have: halved when that was too many, then slowly doubled.

    Attributes:
        configured: the upper limit, from the settings.
        current: what the cloud accepts, as far as is known.
    """

    configured: int
    current: int = field(init=False)
    _changed_at: float = 0.0

    def __post_init__(self) -> None:
        """Start with the configured size."""
        self.current = self.configured

    def max_images(self) -> int:
        """Return the limit; it doubles first when `REGROWTH_S` has passed."""
        now = asyncio.get_running_loop().time()
        if self.current < self.configured and now >= self._changed_at + REGROWTH_S:
            self.current, self._changed_at = min(self.configured, 2 * self.current), now
        return self.current

    def was_too_large(self, images: int) -> None:
        """Limit batches to half of a size that was refused. A smaller limit stays."""
        self.current = min(self.current, max(1, images // 2))
        self._changed_at = asyncio.get_running_loop().time()


@dataclass(slots=True)
class Bisection:
    """The bisection of a batch that was refused with a transient error.

    Attributes:
        max_refusals: refusals in a row after which the cause is the cloud, not one or two images.
        stopped_by: the last of these refusals; the remaining requests are not sent.
        any_accepted: whether a part of the batch was accepted.
    """

    max_refusals: int
    stopped_by: RefusedForNowError | None = None
    any_accepted: bool = False
    _refusals: int = 0

    @classmethod
    def of_requests(cls, requests: int) -> "Bisection":
        """A bisection with enough refusals to find two failing requests next to each other."""
        return cls(max_refusals=2 * math.ceil(math.log2(requests)) + 2)

    def refused(self, error: RefusedForNowError) -> None:
        """Count a refused part; stop after `max_refusals` in a row."""
        self._refusals += 1
        if self._refusals >= self.max_refusals:
            self.stopped_by = error

    def accepted(self) -> None:
        """Record an accepted part: the cloud works."""
        self.any_accepted = True
        self._refusals = 0


class RefusalCounter:
    """How often in a row each image was refused with a transient error, as part of a resource."""

    def __init__(self) -> None:
        self._refusals: LRUCache[str, _ImageRefusals] = LRUCache(MAX_IMAGES)
        self._accepted_batches = 0

    def refused(self, images: Sequence[str]) -> bool:
        """Count a refusal; return whether the resource must find out which image fails.

        This takes many requests when no image is the cause. It is due after
        `backoff.MAX_QUICK_RETRIES` refusals, and again after as many, or at once when the cloud
        accepted any other batch since the last time.
        """
        counted = [self._refusals.setdefault(image, _ImageRefusals()) for image in images]
        for refusals in counted:
            refusals.count += 1
        due = any(refusals.is_due(self._accepted_batches) for refusals in counted)
        if due:
            for refusals in counted:
                refusals.accepted_when_due = self._accepted_batches
        return due

    def accepted(self, images: Iterable[str]) -> None:
        """Count an accepted batch; forget the refusals of its images."""
        self._accepted_batches += 1
        for image in images:
            self._refusals.pop(image, None)


@dataclass(slots=True)
class _ImageRefusals:
    """The refusals of one image.

    Attributes:
        count: refusals in a row.
        accepted_when_due: accepted batches of the identity when a search was last due; ``None``
            when it never was.
    """

    count: int = 0
    accepted_when_due: int | None = None

    def is_due(self, accepted_batches: int) -> bool:
        if self.accepted_when_due is not None and self.accepted_when_due < accepted_batches:
            return True
        return self.count % backoff.MAX_QUICK_RETRIES == 0
