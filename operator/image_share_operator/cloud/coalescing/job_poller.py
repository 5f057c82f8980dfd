"""Polls each job once for all resources that wait for it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cachetools import FIFOCache, LRUCache

from image_share_operator.api.errors import CloudError
from image_share_operator.api.jobs import JobReport
from image_share_operator.telemetry import metrics

MIN_CACHE_S = 0.1
"""How long a poll of a new job is cached, in seconds: its resources poll it at about one time."""
CACHE_SHARE = 0.1
"""How long a poll is cached, as a share of the age of the job: an old job is polled less often."""
MAX_CACHE_S = 5.0
"""The longest time that a poll is cached, in seconds: a settled job is noticed within it."""
MAX_JOBS = 5_000
"""Running jobs and settled jobs that are kept. Older ones are polled again when needed."""
DURATION_SAMPLES = 8
"""Recent jobs that `JobPoller.typical_duration` is computed from: few, to follow changes soon."""
DEFAULT_DURATION = timedelta(seconds=1)
"""The typical duration while no job has settled, and so the age of the first poll."""

Poll = Callable[[str], Awaitable[JobReport]]
"""Polls the job with an ID."""


@dataclass(slots=True)
class _RunningJob:
    """A job that has not settled, with its last poll. Times are the event loop's.

    The lock makes all waiting resources share one poll.
    """

    since: float
    polled_at: float = float("-inf")
    report: JobReport | None = None
    error: CloudError | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def is_fresh(self, now: float) -> bool:
        if self.report is not None and self.report.state.settled:
            return True
        cached_s = min(max(MIN_CACHE_S, CACHE_SHARE * (now - self.since)), MAX_CACHE_S)
        return now < self.polled_at + cached_s


class JobPoller:
    """The jobs of one identity."""

    def __init__(self, poll: Poll) -> None:
        self._poll = poll
        self._running: LRUCache[str, _RunningJob] = LRUCache(MAX_JOBS)
        self._settled: FIFOCache[str, JobReport] = FIFOCache(MAX_JOBS)
        self._durations: deque[timedelta] = deque(maxlen=DURATION_SAMPLES)

    @property
    def typical_duration(self) -> timedelta:
        """The lower quartile of the durations of recent jobs, by the clock of the cloud.

        A poll that is too early costs one request; one that is too late delays all resources of the
        batch. Our clock would add the delay until the poll, and so delay the next poll more.
        """
        durations = sorted(self._durations)
        return durations[len(durations) // 4] if durations else DEFAULT_DURATION

    async def report(self, job_id: str) -> JobReport:
        """Return the report of a job, polled now or a moment ago. That of a settled job is kept.

        Raises:
            CloudError: the poll failed; the same error for all waiting resources.
        """
        settled = self._settled.get(job_id)
        if settled is not None:
            return settled
        job = self._job(job_id)
        loop = asyncio.get_running_loop()
        async with job.lock:
            if not job.is_fresh(loop.time()):
                job.report = job.error = None
                try:
                    job.report = await self._poll(job_id)
                except CloudError as exc:
                    job.error = exc
                job.polled_at = loop.time()
                if job.report is not None and job.report.state.settled:
                    self._settle(job_id, job.report)
            if job.report is None:
                raise job.error.with_traceback(None) if job.error else RuntimeError(job_id)
            return job.report

    def _job(self, job_id: str) -> _RunningJob:
        job = self._running.get(job_id)
        if job is None:
            now = asyncio.get_running_loop().time()
            job = self._running[job_id] = _RunningJob(since=now)
        return job

    def _settle(self, job_id: str, report: JobReport) -> None:
        """Keep the report of a settled job; record its duration."""
        self._running.pop(job_id, None)
        self._settled[job_id] = report
        took = duration(report.begin_time, report.end_time)
        if took is not None:
            metrics.JOBS.observe(took.total_seconds())
            self._durations.append(took)


def duration(begin: str | None, end: str | None) -> timedelta | None:
    """The time between two times of the cloud; ``None`` when one is missing or not valid.

    The cloud has three formats for them. Only ISO 8601 is read: the value is used for nothing but
    the time of the next poll.
    """
    try:
        took = datetime.fromisoformat(end or "") - datetime.fromisoformat(begin or "")
    except (TypeError, ValueError):
        return None
    return took if took >= timedelta() else None
