"""Combines the images of many resources into few batches, and divides batches that are refused.

Theory of operation
-------------------

There is one `Batcher` for each identity: a batch is sent with one token, so images of different
tenants are never in one batch.

**How a batch forms.** A request has the images of one resource. They stay together, because the
status of the resource names one job. The first request opens a batch and waits for others: for the
window, or for the other requests of a failed batch (below). Requests share a batch only if their
decision, vault and origin are equal. The batch is sent when the wait ends, when it is full, or when
all requests that belong to it have arrived. Each request gets the ID of the job. A later request
whose images a running job carries, for the same decision and vault, gets the ID of that job, and
nothing is sent: several resources may select a new image one after another.

**What happens to a batch that IMS refuses.** Nothing was changed, so it can be divided and sent
again at once:

    too large                 The limit becomes half of its size; the batch is sent in parts of that
                              size. After an hour the limit doubles (`BatchLimit`).
    an image is refused       `ImagesRefusedError`: bisection until each failing request is alone.
                              It gets the error, all others get a job. `PlanExecutor` then divides
                              the images of that one resource.
    refused with a transient  `RefusedForNowError`: an image may be the cause, or the cloud fails.
    error                     Bisection, too, but it stops after some refusals in a row: then the
                              cloud fails, and the remaining requests get the error. If no part was
                              accepted, no further bisection starts before a batch is accepted. A
                              request that is alone gets the error and is retried. After
                              `MAX_QUICK_RETRIES` refusals the error is ``persistent``:
                              `PlanExecutor` then divides the images of the resource.
    any other error           All requests get the error. An unknown outcome is one of these: the
                              batch may have taken effect, so nothing is sent again here. After
                              `MAX_QUICK_RETRIES` responses of 5xx the error is ``persistent``: the
                              planner then sends single images.

**What happens after a failed job.** The batch was accepted, so the resources find out by polling.
Each submits its images again, with a `RetryGroup` that names the failed job:

    candidates                Bisection, one step for each job: the first half of the requests is
                              one batch, the second half another. A half that fails is divided
                              again, until one resource is left (`JobReport.shared` is false).
    unaffected images         The job named the failing images: the others are sent as one batch.
    retry                     A transient failure: all requests are sent as one batch again.

`BatchHistory` knows which requests a job carried, and so how many requests to wait for. After a
restart it does not: the requests then wait for the window only.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    OutcomeUnknownError,
    RefusedForNowError,
)
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.types import Decision
from image_share_operator.cloud.coalescing.batch_history import (
    BatchHistory,
    BatchLimit,
    Bisection,
    RefusalCounter,
    RunningJobs,
)
from image_share_operator.telemetry import context, metrics

BISECTION_WAIT = timedelta(seconds=1)
"""How long one half of a failed batch waits for its other requests. All resources of the batch poll
the same job, so they return at about the same time."""
RETRY_WAIT = timedelta(seconds=6)
"""How long a batch that is retried waits for its other requests. Each resource reads its
memberships before; under load that takes up to two lists, which are up to 3 s apart."""

Send = Callable[[Decision, str | None, tuple[str, ...]], Awaitable[str]]
"""Sends one batch; returns the ID of its job."""


@dataclass(frozen=True, slots=True)
class _BatchKey:
    """What requests of one batch have in common.

    Attributes:
        origin: the failed job that carried the images, and which part of it: 0 for all or the
            unaffected images, 1 and 2 for its halves; ``None`` for new images.
    """

    decision: Decision
    vault_id: str | None
    origin: tuple[str, int] | None

    @property
    def effect(self) -> tuple[Decision, str | None]:
        """What the batch does with its images."""
        return self.decision, self.vault_id


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """The images of one resource. They stay in one batch: the status names one job.

    Attributes:
        narrowing: whether the resource divides its images, to find the failing one.
    """

    images: tuple[str, ...]
    job_id: asyncio.Future[str]
    narrowing: bool


@dataclass(slots=True)
class _Batch:
    """Requests that wait for others.

    Attributes:
        expected: the number of requests after which the batch is complete; ``None`` when unknown.
    """

    timer: asyncio.TimerHandle
    expected: int | None
    requests: list[_Request] = field(default_factory=list[_Request])
    images: dict[str, None] = field(default_factory=dict[str, None])


class Batcher:
    """The batches of one identity.

    Args:
        window: how long the first request waits for others.
        max_images: the largest number of images in one batch.
    """

    def __init__(self, send: Send, *, window: timedelta, max_images: int) -> None:
        self._send = send
        self._window = window
        self._limit = BatchLimit(max_images)
        self._refusals = RefusalCounter()
        self._all_refused = False  # by the last bisection, and no batch was accepted since then
        self._open: dict[_BatchKey, _Batch] = {}
        self._sending: dict[asyncio.Task[None], tuple[_BatchKey, frozenset[str]]] = {}
        self._history = BatchHistory()
        self._running = RunningJobs()

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        """Send the images in one batch, maybe with those of other resources; return the job ID.

        Raises:
            ImagesRefusedError: IMS refused a batch of only these images.
            BatchTooLargeError: these are more images than IMS accepts in one batch.
            CloudError: the batch failed; the same error for all of its requests.
        """
        if len(images) > self._limit.max_images():
            raise self._too_large()
        if retry_group is None:
            job_id = await self._running_job(_BatchKey(decision, vault_id, None), images)
            if job_id is not None:
                self._history.join(job_id, images)
                return job_id
        narrowing = retry_group is not None and retry_group.job_id is None
        request = _Request(images, asyncio.get_running_loop().create_future(), narrowing)
        if narrowing:
            self._start(_BatchKey(decision, vault_id, None), [request])
        else:
            self._join(request, decision, vault_id, retry_group)
        return await request.job_id

    def add_peers(self, job_id: str, report: JobReport) -> JobReport:
        """Add to a report whether the job is shared; drop rows of images that it did not carry.

        A job of an earlier process may be shared.
        """
        record = self._history.get(job_id)
        if record is None:
            return replace(report, shared=True)
        carried = record.images
        if report.state.settled:
            self._running.settled(job_id, carried)
        rows = {image: message for image, message in report.failed_rows.items() if image in carried}
        return replace(report, shared=len(record.requests) > 1, failed_rows=rows)

    async def _running_job(self, key: _BatchKey, images: tuple[str, ...]) -> str | None:
        """The job that does what a request asks for, also if it is being sent just now."""
        if self._is_changed_by_others(key, images):
            return None
        for task, (sent, carried) in tuple(self._sending.items()):
            if sent == key and carried.issuperset(images):
                await asyncio.wait({task})
                break
        return self._running.of(key.effect, images)

    def _is_changed_by_others(self, key: _BatchKey, images: tuple[str, ...]) -> bool:
        """Whether a batch that has no job yet does something else with one of the images."""
        waiting = ((other, batch.images.keys()) for other, batch in self._open.items())
        return any(
            other.effect != key.effect and not carried.isdisjoint(images)
            for other, carried in (*waiting, *self._sending.values())
        )

    def _too_large(self) -> BatchTooLargeError:
        most = self._limit.current
        return BatchTooLargeError(
            f"IMS refused a batch of more than {most} images as too large", most=most
        )

    def _join(
        self,
        request: _Request,
        decision: Decision,
        vault_id: str | None,
        retry_group: RetryGroup | None,
    ) -> None:
        origin, expected = self._origin(request, retry_group)
        key = _BatchKey(decision, vault_id, origin)
        max_images = self._limit.max_images()
        batch = self._open.get(key)
        if batch is not None and len(batch.images | dict.fromkeys(request.images)) > max_images:
            self._flush(key)
            batch = None
        if batch is None:
            batch = self._open[key] = self._new_batch(key, expected)
        batch.requests.append(request)
        batch.images |= dict.fromkeys(request.images)
        if len(batch.images) >= max_images or len(batch.requests) == batch.expected:
            self._flush(key)

    def _origin(
        self, request: _Request, retry_group: RetryGroup | None
    ) -> tuple[tuple[str, int] | None, int | None]:
        """The part of a failed batch that the request belongs to, and its number of requests."""
        if retry_group is None or retry_group.job_id is None:
            return None, None
        record = self._history.get(retry_group.job_id)
        if record is None:
            return (retry_group.job_id, 0), None
        if not retry_group.candidate:
            return (retry_group.job_id, 0), len(record.requests) if retry_group.retry else None
        if not record.bisected and len(record.images) > 1:
            record.bisected = True
            metrics.SPLITS.inc()
        first_half = (len(record.requests) + 1) // 2
        mine = frozenset(request.images)
        carried = enumerate(record.requests)
        place = next((n for n, images in carried if not mine.isdisjoint(images)), 0)
        if place < first_half:
            return (retry_group.job_id, 1), first_half
        return (retry_group.job_id, 2), len(record.requests) - first_half

    def _new_batch(self, key: _BatchKey, expected: int | None) -> _Batch:
        wait = self._window
        if expected is not None and key.origin is not None:
            wait = BISECTION_WAIT if key.origin[1] else RETRY_WAIT
        timer = asyncio.get_running_loop().call_later(wait.total_seconds(), self._flush, key)
        return _Batch(timer=timer, expected=expected)

    def _flush(self, key: _BatchKey) -> None:
        batch = self._open.pop(key)
        batch.timer.cancel()
        self._start(key, batch.requests)

    def _start(self, key: _BatchKey, requests: list[_Request]) -> None:
        # A task of its own: a reconcile may be cancelled while others wait for the same batch.
        task = asyncio.create_task(self._send_all(key, requests), context=context.shared())
        carried = frozenset(image for request in requests for image in request.images)
        self._sending[task] = key, carried
        task.add_done_callback(self._sending.pop)

    async def _send_all(
        self, key: _BatchKey, requests: list[_Request], bisection: Bisection | None = None
    ) -> None:
        """Send the requests, in as few batches as the limit allows."""
        while requests:
            part = _first(requests, self._limit.max_images())
            waiting = [request for request in part if not request.job_id.done()]
            if bisection is not None and bisection.stopped_by is not None:
                _fail(waiting, bisection.stopped_by)
            elif waiting and not await self._send_batch(key, waiting, bisection):
                continue  # too large: send the same requests again, with the new limit
            requests = requests[len(part) :]

    async def _send_batch(
        self, key: _BatchKey, waiting: list[_Request], bisection: Bisection | None
    ) -> bool:
        """Send one batch and end its requests; return ``False`` when the batch is too large."""
        images = tuple(dict.fromkeys(image for request in waiting for image in request.images))
        if len(images) > self._limit.current:
            _fail(waiting, self._too_large())
            return True
        metrics.BATCH_IMAGES.observe(len(images))
        try:
            job_id = await self._send(key.decision, key.vault_id, images)
        except (ImagesRefusedError, RefusedForNowError) as exc:
            metrics.BATCHES.labels("refused").inc()
            if isinstance(exc, BatchTooLargeError) and len(images) > 1:
                metrics.SPLITS.inc()
                self._limit.was_too_large(len(images))
                return False
            await self._refused(key, waiting, exc, bisection)
        except OutcomeUnknownError as exc:
            metrics.BATCHES.labels("failed").inc()
            for request in waiting:
                _fail([request], self._unknown_outcome_of(request, exc))
        except Exception as exc:  # noqa: BLE001 - it is raised in each reconcile that waits
            metrics.BATCHES.labels("failed").inc()
            _fail(waiting, exc)
        except asyncio.CancelledError:
            for request in waiting:
                request.job_id.cancel()
            raise
        else:
            self._running.started(job_id, key.effect, images)
            self._accepted(job_id, waiting, bisection)
        return True

    def _accepted(self, job_id: str, waiting: list[_Request], bisection: Bisection | None) -> None:
        metrics.BATCHES.labels("accepted").inc()
        self._history.add(job_id, (request.images for request in waiting))
        self._all_refused = False
        self._refusals.accepted(image for request in waiting for image in request.images)
        if bisection is not None:
            bisection.accepted()
        for request in waiting:
            if not request.job_id.done():
                request.job_id.set_result(job_id)

    async def _refused(
        self,
        key: _BatchKey,
        waiting: list[_Request],
        error: CloudError,
        bisection: Bisection | None,
    ) -> None:
        """Divide a refused batch; a request that is alone gets the error."""
        if bisection is not None and isinstance(error, RefusedForNowError):
            bisection.refused(error)
        if len(waiting) == 1:
            _fail(waiting, self._error_of_one(waiting[0], error))
        elif bisection is None and isinstance(error, RefusedForNowError):
            await self._bisect(key, waiting, error)
        else:
            await self._halve(key, waiting, bisection)

    async def _bisect(
        self, key: _BatchKey, waiting: list[_Request], error: RefusedForNowError
    ) -> None:
        """Start a bisection after a transient error, unless the last one had no accepted part."""
        if self._all_refused:
            _fail(waiting, error)
            return
        bisection = Bisection.of_requests(len(waiting))
        await self._halve(key, waiting, bisection)
        self._all_refused = not bisection.any_accepted

    async def _halve(
        self, key: _BatchKey, waiting: list[_Request], bisection: Bisection | None
    ) -> None:
        metrics.SPLITS.inc()
        half = len(waiting) // 2
        await self._send_all(key, waiting[:half], bisection)
        await self._send_all(key, waiting[half:], bisection)

    def _error_of_one(self, request: _Request, error: CloudError) -> CloudError:
        """The error for a request that was refused alone. `PlanExecutor` then divides its images.

        A transient error is retried first; it is ``persistent`` when the retries are used up.
        """
        if isinstance(error, RefusedForNowError) and not request.narrowing:
            if not self._refusals.refused(request.images):
                return error
            error = RefusedForNowError(
                str(error), retry_after=error.retry_after, cause=error.cause, persistent=True
            )
        if len(request.images) > 1:
            metrics.SPLITS.inc()
        return error

    def _unknown_outcome_of(self, request: _Request, error: OutcomeUnknownError) -> CloudError:
        """The same error for one request; it is ``persistent`` when the retries are used up.

        A response of 5xx may be about one image, and the batch may have taken effect all the same.
        So nothing is divided here: the resource sends single images after its next check.
        """
        if not error.answered or not self._refusals.refused(request.images):
            return error
        return OutcomeUnknownError(
            str(error),
            retry_after=error.retry_after,
            cause=error.cause,
            answered=True,
            persistent=True,
        )


def _first(requests: list[_Request], max_images: int) -> list[_Request]:
    """The first requests with up to ``max_images`` images together; at least one request."""
    images: dict[str, None] = {}
    for number, request in enumerate(requests):
        images |= dict.fromkeys(request.images)
        if number and len(images) > max_images:
            return requests[:number]
    return requests


def _fail(requests: list[_Request], error: Exception) -> None:
    for request in requests:
        if not request.job_id.done():
            request.job_id.set_exception(error)
