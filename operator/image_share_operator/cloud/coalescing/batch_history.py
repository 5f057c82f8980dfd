"""What the batches of one identity have taught. No I/O; times are the event loop's."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

from image_share_operator.api.errors import RefusedForNowError
from image_share_operator.flowcontrol import backoff

MAX_JOBS = 5_000
"""Jobs whose company is remembered; of older ones it is not known, as after a restart."""
MAX_IMAGES = 20_000
"""Images whose refusals are counted; those of older ones are counted anew."""
REGROWTH_S = 3600.0
"""How long after a batch that was too large a larger one is tried, twice as large each time."""


@dataclass(slots=True)
class BatchRecord:
    """Whose images a job carried: those of each request, in the order of the batch.

    Attributes:
        divided: whether it failed and was sent in parts.
    """

    parts: tuple[tuple[str, ...], ...]
    divided: bool = False

    @property
    def images(self) -> frozenset[str]:
        """All that the job carried."""
        return frozenset(chain.from_iterable(self.parts))


class BatchHistory:
    """Whose images the jobs of late carried."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, BatchRecord] = OrderedDict()

    def of(self, job_id: str) -> BatchRecord | None:
        """Whose images the job carried; ``None`` when nobody knows."""
        return self._known.get(job_id)

    def remember(self, job_id: str, parts: Iterable[tuple[str, ...]]) -> None:
        """Note whose images the job carries."""
        self._known[job_id] = BatchRecord(tuple(parts))
        while len(self._known) > MAX_JOBS:
            self._known.popitem(last=False)


@dataclass(slots=True)
class BatchLimit:
    """How many images a batch may have: fewer once that was too large, slowly more again.

    Attributes:
        wanted: if the cloud takes that.
        most: of what it takes as far as is known.
    """

    wanted: int
    most: int = field(init=False)
    _shrunk_at: float = 0.0

    def __post_init__(self) -> None:
        """Trust the cloud at first."""
        self.most = self.wanted

    def now(self) -> int:
        """How many a batch may have at this time."""
        at = asyncio.get_running_loop().time()
        if self.most < self.wanted and at >= self._shrunk_at + REGROWTH_S:
            self.most, self._shrunk_at = min(self.wanted, 2 * self.most), at
        return self.most

    def was_too_large(self, images: int) -> None:
        """Note that so many were too many; what is known of smaller batches stays known."""
        self.most = min(self.most, max(1, images // 2))
        self._shrunk_at = asyncio.get_running_loop().time()


@dataclass(slots=True)
class Bisection:
    """The division of a batch that was refused for what may pass.

    Attributes:
        patience: refusals in a row after which it is the cloud, not one or two images.
        given_up: why the rest is not sent.
        fruitful: whether any part was accepted.
    """

    patience: int
    given_up: RefusedForNowError | None = None
    fruitful: bool = False
    _fruitless: int = 0

    @classmethod
    def among(cls, requests: int) -> "Bisection":
        """Enough to find two culprits side by side."""
        return cls(patience=2 * math.ceil(math.log2(requests)) + 2)

    def refused(self, why: RefusedForNowError) -> None:
        """Count it, and give up when it is enough."""
        self._fruitless += 1
        if self._fruitless >= self.patience:
            self.given_up = why

    def accepted(self) -> None:
        """Note that the cloud does accept parts."""
        self.fruitful = True
        self._fruitless = 0


class RefusalCounter:
    """How often in a row each image was refused, with others of its object, for what may pass."""

    def __init__(self) -> None:
        self._tries: OrderedDict[str, _Tried] = OrderedDict()
        self._accepted = 0

    def refused(self, images: Sequence[str]) -> bool:
        """Count; return whether it is time to find out whether one image is why.

        That is dear when none is: if nothing of anybody is accepted meanwhile, the next time
        comes after as many tries again.
        """
        due = False
        for image in images:
            tried = self._tries.pop(image, None) or _Tried()
            tried.times += 1
            self._tries[image] = tried
            due |= tried.due(self._accepted)
        if due:
            for image in images:
                self._tries[image].looked_at = self._accepted
        while len(self._tries) > MAX_IMAGES:
            self._tries.popitem(last=False)
        return due

    def accepted(self, images: Iterable[str]) -> None:
        """Forget what is not so any more."""
        self._accepted += 1
        for image in images:
            self._tries.pop(image, None)


@dataclass(slots=True)
class _Tried:
    """One image: how often, and how much was accepted of anybody when it was last looked into."""

    times: int = 0
    looked_at: int | None = None

    def due(self, accepted: int) -> bool:
        if self.looked_at is not None and self.looked_at < accepted:
            return True
        return self.times % backoff.MAX_QUICK_RETRIES == 0
