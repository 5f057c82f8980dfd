"""Puts the images of many objects into few PUTs, and divides what the cloud refuses.

One `Batcher` for each identity: nothing of one tenant ever travels with another's token.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from image_share_operator import metrics, scope
from image_share_operator.api import Decision
from image_share_operator.errors import BatchTooLargeError, ImagesRefusedError
from image_share_operator.facts import JobReport, Leftover

FELLOWS_WAIT = timedelta(seconds=1)
"""How long one half of a failed batch waits for all that belong to it."""
MAX_JOBS = 5_000
"""Jobs whose company is remembered; of older ones it is not known, as after a restart."""

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
    """The images of one object: they stay together, for its status knows one job."""

    images: tuple[str, ...]
    job_id: asyncio.Future[str]


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
        most: images in one PUT.
    """

    def __init__(self, send: Send, *, window: timedelta, most: int) -> None:
        self._send = send
        self._window = window
        self._most = most
        self._open: dict[_Line, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._companies: OrderedDict[str, tuple[frozenset[str], ...]] = OrderedDict()

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        leftover: Leftover | None,
    ) -> str:
        """Send the images, all in one batch, perhaps with those of others; return its job's id.

        Raises:
            ImagesRefusedError: the cloud refuses these images, sent alone.
            CloudError: as the PUT raised it, for all whom it carried.
        """
        if len(images) > self._most:
            raise BatchTooLargeError(f"the cloud refused more than {self._most} images at once")
        request = _Request(images, asyncio.get_running_loop().create_future())
        if leftover is not None and leftover.job_id is None:
            self._start(_Line(decision, vault_id, None), [request])
        else:
            self._join(request, decision, vault_id, leftover)
        return await request.job_id

    def told(self, job_id: str, report: JobReport) -> JobReport:
        """Add to a report whom the job carried; rows of images that it did not are dropped.

        Nobody knows that of jobs of another process: they may have been shared.
        """
        company = self._companies.get(job_id)
        if company is None:
            return replace(report, shared=True)
        carried = frozenset[str]().union(*company)
        ours = {image: why for image, why in report.failed_rows.items() if image in carried}
        return replace(report, shared=len(company) > 1, failed_rows=ours)

    def _join(
        self,
        request: _Request,
        decision: Decision,
        vault_id: str | None,
        leftover: Leftover | None,
    ) -> None:
        origin, expected = self._origin(request, leftover)
        line = _Line(decision, vault_id, origin)
        batch = self._open.get(line)
        if batch is not None and len(batch.images | dict.fromkeys(request.images)) > self._most:
            self._flush(line)
            batch = None
        if batch is None:
            batch = self._open[line] = self._batch(line, expected)
        batch.requests.append(request)
        batch.images |= dict.fromkeys(request.images)
        if len(batch.images) >= self._most or len(batch.requests) == batch.expected:
            self._flush(line)

    def _origin(
        self, request: _Request, leftover: Leftover | None
    ) -> tuple[tuple[str, int] | None, int | None]:
        """Which part of a failed batch the request belongs to, and how many others do.

        Suspects are halved: the first half of the objects is one part, the second the other, so
        that a culprit stands alone after as many rounds as the batch can be halved. What a job
        that named its culprits left over is one part.
        """
        if leftover is None or leftover.job_id is None:
            return None, None
        company = self._companies.get(leftover.job_id)
        if company is None or not leftover.suspect:
            return (leftover.job_id, 0), None
        first = (len(company) + 1) // 2
        mine = frozenset(request.images)
        place = next((n for n, images in enumerate(company) if images & mine), 0)
        return (
            ((leftover.job_id, 1), first)
            if place < first
            else ((leftover.job_id, 2), len(company) - first)
        )

    def _batch(self, line: _Line, expected: int | None) -> _Batch:
        wait = self._window if expected is None else FELLOWS_WAIT
        timer = asyncio.get_running_loop().call_later(wait.total_seconds(), self._flush, line)
        return _Batch(timer=timer, expected=expected)

    def _flush(self, line: _Line) -> None:
        batch = self._open.pop(line)
        batch.timer.cancel()
        self._start(line, batch.requests)

    def _start(self, line: _Line, requests: list[_Request]) -> None:
        # A task of its own: whoever asked may go away, the others still wait for the answer.
        task = asyncio.create_task(self._carry(line, requests), context=scope.shared())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _carry(self, line: _Line, requests: list[_Request]) -> None:
        """Send the requests as one batch, or in halves when the cloud refuses that."""
        asking = [request for request in requests if not request.job_id.done()]
        if not asking:
            return
        images = tuple(dict.fromkeys(image for request in asking for image in request.images))
        metrics.BATCH_IMAGES.observe(len(images))
        try:
            job_id = await self._send(line.decision, line.vault_id, images)
        except ImagesRefusedError as exc:
            metrics.BATCHES.labels("refused").inc()
            if isinstance(exc, BatchTooLargeError):
                self._most = max(1, len(images) // 2)
            await self._divide(line, asking, exc)
        except Exception as exc:  # noqa: BLE001 - it is raised on in each pass that asked
            metrics.BATCHES.labels("failed").inc()
            _fail(asking, exc)
        except asyncio.CancelledError:
            for request in asking:
                request.job_id.cancel()
            raise
        else:
            metrics.BATCHES.labels("accepted").inc()
            self._remember(job_id, asking)
            for request in asking:
                if not request.job_id.done():
                    request.job_id.set_result(job_id)

    async def _divide(self, line: _Line, asking: list[_Request], why: ImagesRefusedError) -> None:
        if len(asking) == 1:
            _fail(asking, why)
            return
        metrics.SPLITS.inc()
        half = len(asking) // 2
        await self._carry(line, asking[:half])
        await self._carry(line, asking[half:])

    def _remember(self, job_id: str, requests: list[_Request]) -> None:
        self._companies[job_id] = tuple(frozenset(request.images) for request in requests)
        while len(self._companies) > MAX_JOBS:
            self._companies.popitem(last=False)


def _fail(requests: list[_Request], exc: Exception) -> None:
    for request in requests:
        if not request.job_id.done():
            request.job_id.set_exception(exc)
