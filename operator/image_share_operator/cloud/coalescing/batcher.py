"""Puts the images of many objects into few PUTs, and divides what the cloud refuses.

One `Batcher` for each identity: nothing of one tenant ever travels with another's token.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    RefusedForNowError,
)
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.types import Decision
from image_share_operator.cloud.coalescing.batch_history import (
    BatchHistory,
    BatchLimit,
    Bisection,
    RefusalCounter,
)
from image_share_operator.telemetry import context, metrics

FELLOWS_WAIT = timedelta(seconds=1)
"""How long one half of a failed batch waits for all that belong to it."""
RETRY_WAIT = timedelta(seconds=6)
"""How long a batch that is tried again waits for them: each looks first, and in a flood that takes
up to two lists, 3 s apart."""

Send = Callable[[Decision, str | None, tuple[str, ...]], Awaitable[str]]
"""Sends one batch; returns the id of its job."""


@dataclass(frozen=True, slots=True)
class _Line:
    """What may travel together.

    Attributes:
        origin: the failed job that the images are left over from, and which part of it.
    """

    decision: Decision
    vault_id: str | None
    origin: tuple[str, int] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """The images of one object: they stay together, for its status knows one job.

    Attributes:
        narrowing: whether the object is finding out which of its images the cloud refuses.
    """

    images: tuple[str, ...]
    job_id: asyncio.Future[str]
    narrowing: bool


@dataclass(slots=True)
class _Batch:
    """Requests that wait for others to come along.

    Attributes:
        expected: how many requests will come at most; ``None`` when nobody knows.
    """

    timer: asyncio.TimerHandle
    expected: int | None
    requests: list[_Request] = field(default_factory=list[_Request])
    images: dict[str, None] = field(default_factory=dict[str, None])


class Batcher:
    """Collects requests for a moment, sends them as one, tells each the id of its job.

    Args:
        window: how long the first request waits for others.
        most: images in one PUT at most.

    ``_trouble`` is whether nothing was accepted since a search among many found all refused.
    """

    def __init__(self, send: Send, *, window: timedelta, most: int) -> None:
        self._send = send
        self._window = window
        self._limit = BatchLimit(most)
        self._tries = RefusalCounter()
        self._trouble = False
        self._open: dict[_Line, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._companies = BatchHistory()

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        """Send the images, all in one batch, perhaps with those of others; return its job's id.

        Raises:
            ImagesRefusedError: the cloud refuses these images, sent alone.
            BatchTooLargeError: they are too many; it says how many may do.
            CloudError: as the PUT raised it, for all whom it carried.
        """
        if len(images) > self._limit.now():
            raise self._too_many()
        narrowing = retry_group is not None and retry_group.job_id is None
        request = _Request(images, asyncio.get_running_loop().create_future(), narrowing)
        if narrowing:
            self._start(_Line(decision, vault_id, None), [request])
        else:
            self._join(request, decision, vault_id, retry_group)
        return await request.job_id

    def told(self, job_id: str, report: JobReport) -> JobReport:
        """Add to a report whom the job carried; rows of images that it did not are dropped.

        Nobody knows that of jobs of another process: they may have been shared.
        """
        batch_peers = self._companies.of(job_id)
        if batch_peers is None:
            return replace(report, shared=True)
        carried = batch_peers.images
        ours = {image: why for image, why in report.failed_rows.items() if image in carried}
        return replace(report, shared=len(batch_peers.parts) > 1, failed_rows=ours)

    def _too_many(self) -> BatchTooLargeError:
        most = self._limit.most
        return BatchTooLargeError(f"the cloud refused more than {most} images at once", most=most)

    def _join(
        self,
        request: _Request,
        decision: Decision,
        vault_id: str | None,
        retry_group: RetryGroup | None,
    ) -> None:
        origin, expected = self._origin(request, retry_group)
        line = _Line(decision, vault_id, origin)
        most = self._limit.now()
        batch = self._open.get(line)
        if batch is not None and len(batch.images | dict.fromkeys(request.images)) > most:
            self._flush(line)
            batch = None
        if batch is None:
            batch = self._open[line] = self._batch(line, expected)
        batch.requests.append(request)
        batch.images |= dict.fromkeys(request.images)
        if len(batch.images) >= most or len(batch.requests) == batch.expected:
            self._flush(line)

    def _origin(
        self, request: _Request, retry_group: RetryGroup | None
    ) -> tuple[tuple[str, int] | None, int | None]:
        """Which part of a failed batch the request belongs to, and how many others do.

        Suspects are halved: the first half of the objects is one part, the second the other, so
        that a culprit stands alone after as many rounds as the batch can be halved. What a job
        that named its culprits left over is one part; so are all of it when it is time to retry.
        """
        if retry_group is None or retry_group.job_id is None:
            return None, None
        batch_peers = self._companies.of(retry_group.job_id)
        if batch_peers is None:
            return (retry_group.job_id, 0), None
        if not retry_group.candidate:
            return (retry_group.job_id, 0), len(batch_peers.parts) if retry_group.retry else None
        if not batch_peers.divided and len(batch_peers.images) > 1:
            batch_peers.divided = True
            metrics.SPLITS.inc()
        first = (len(batch_peers.parts) + 1) // 2
        mine = frozenset(request.images)
        parts = enumerate(batch_peers.parts)
        place = next((n for n, images in parts if not mine.isdisjoint(images)), 0)
        if place < first:
            return (retry_group.job_id, 1), first
        return (retry_group.job_id, 2), len(batch_peers.parts) - first

    def _batch(self, line: _Line, expected: int | None) -> _Batch:
        wait = self._window
        if expected is not None and line.origin is not None:
            wait = FELLOWS_WAIT if line.origin[1] else RETRY_WAIT
        timer = asyncio.get_running_loop().call_later(wait.total_seconds(), self._flush, line)
        return _Batch(timer=timer, expected=expected)

    def _flush(self, line: _Line) -> None:
        batch = self._open.pop(line)
        batch.timer.cancel()
        self._start(line, batch.requests)

    def _start(self, line: _Line, requests: list[_Request]) -> None:
        # A task of its own: whoever asked may go away, the others still wait for the answer.
        task = asyncio.create_task(self._carry(line, requests), context=context.shared())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _carry(
        self, line: _Line, requests: list[_Request], search: Bisection | None = None
    ) -> None:
        """Send the requests as one batch, or in parts when the cloud refuses that."""
        while requests:
            part = _first(requests, self._limit.now())
            asking = [request for request in part if not request.job_id.done()]
            if search is not None and search.given_up is not None:
                _fail(asking, search.given_up)
            elif asking and not await self._taken(line, asking, search):
                continue  # in smaller parts, by the limit that it has taught
            requests = requests[len(part) :]

    async def _taken(self, line: _Line, asking: list[_Request], search: Bisection | None) -> bool:
        """Send as one batch, divide it when it is refused; ``False`` when it is too large."""
        images = tuple(dict.fromkeys(image for request in asking for image in request.images))
        if len(images) > self._limit.most:
            _fail(asking, self._too_many())
            return True
        metrics.BATCH_IMAGES.observe(len(images))
        try:
            job_id = await self._send(line.decision, line.vault_id, images)
        except (ImagesRefusedError, RefusedForNowError) as exc:
            metrics.BATCHES.labels("refused").inc()
            if isinstance(exc, BatchTooLargeError) and len(images) > 1:
                metrics.SPLITS.inc()
                self._limit.was_too_large(len(images))
                return False
            await self._refused(line, asking, exc, search)
        except Exception as exc:  # noqa: BLE001 - it is raised on in each pass that asked
            metrics.BATCHES.labels("failed").inc()
            _fail(asking, exc)
        except asyncio.CancelledError:
            for request in asking:
                request.job_id.cancel()
            raise
        else:
            self._accepted(job_id, asking, search)
        return True

    def _accepted(self, job_id: str, asking: list[_Request], search: Bisection | None) -> None:
        metrics.BATCHES.labels("accepted").inc()
        self._companies.remember(job_id, (request.images for request in asking))
        self._trouble = False
        self._tries.accepted(image for request in asking for image in request.images)
        if search is not None:
            search.accepted()
        for request in asking:
            if not request.job_id.done():
                request.job_id.set_result(job_id)

    async def _refused(
        self, line: _Line, asking: list[_Request], why: CloudError, search: Bisection | None
    ) -> None:
        """Find out whose images are refused: nobody else waits for them, or is blamed."""
        if search is not None and isinstance(why, RefusedForNowError):
            search.refused(why)
        if len(asking) == 1:
            _fail(asking, self._alone(asking[0], why))
        elif search is None and isinstance(why, RefusedForNowError):
            await self._search(line, asking, why)
        else:
            await self._halve(line, asking, search)

    async def _search(self, line: _Line, asking: list[_Request], why: RefusedForNowError) -> None:
        """Divide for what may pass, but not again and again while nothing at all gets through."""
        if self._trouble:
            _fail(asking, why)
            return
        search = Bisection.among(len(asking))
        await self._halve(line, asking, search)
        self._trouble = not search.fruitful

    async def _halve(self, line: _Line, asking: list[_Request], search: Bisection | None) -> None:
        metrics.SPLITS.inc()
        half = len(asking) // 2
        await self._carry(line, asking[:half], search)
        await self._carry(line, asking[half:], search)

    def _alone(self, request: _Request, why: CloudError) -> CloudError:
        """What to tell an object that was refused alone: which image it is, it finds by itself."""
        if isinstance(why, RefusedForNowError) and not request.narrowing:
            if not self._tries.refused(request.images):
                return why  # it has its time to pass first
            why = RefusedForNowError(str(why), retry_after=why.retry_after, stubborn=True)
        if len(request.images) > 1:
            metrics.SPLITS.inc()
        return why


def _first(requests: list[_Request], most: int) -> list[_Request]:
    """The first of the requests that have at most so many images together; one at least."""
    images: dict[str, None] = {}
    for number, request in enumerate(requests):
        images |= dict.fromkeys(request.images)
        if number and len(images) > most:
            return requests[:number]
    return requests


def _fail(requests: list[_Request], exc: Exception) -> None:
    for request in requests:
        if not request.job_id.done():
            request.job_id.set_exception(exc)
