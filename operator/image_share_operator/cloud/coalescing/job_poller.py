"""What is known of each job: asked once, however many objects wait for it."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from image_share_operator.api.errors import CloudError
from image_share_operator.api.jobs import JobReport
from image_share_operator.telemetry import metrics

FRESH_S = 0.1
"""An answer is good for all who ask within this time, in seconds…"""
FRESH_SHARE = 0.1
"""…or this share of the job's age, if that is longer: an old job is not asked more often."""
FRESH_MOST_S = 5.0
MAX_JOBS = 5_000
LEARNED_FROM = 8
"""So many of the latest jobs tell how long the next may take. The quicker ones of them, a quarter:
a question that is early costs a call, one that is late costs everybody's time."""

FIRST_POLL = timedelta(seconds=1)
"""The age at which a job is first polled while no duration of an earlier job is known."""

Ask = Callable[[str], Awaitable[JobReport]]


@dataclass(slots=True)
class _Asked:
    """One job that goes on. Times are the event loop's.

    The lock makes all who ask share one question.
    """

    since: float
    asked_at: float = float("-inf")
    report: JobReport | None = None
    error: CloudError | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def fresh(self, now: float) -> bool:
        if self.report is not None and self.report.state.settled:
            return True
        good_for = min(max(FRESH_S, FRESH_SHARE * (now - self.since)), FRESH_MOST_S)
        return now < self.asked_at + good_for


class JobPoller:
    """The jobs of one identity."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked: OrderedDict[str, _Asked] = OrderedDict()
        self._settled: OrderedDict[str, JobReport] = OrderedDict()
        self._took: deque[timedelta] = deque(maxlen=LEARNED_FROM)

    @property
    def typical_duration(self) -> timedelta:
        """How long the quicker ones of the latest jobs took, by the cloud's own clock.

        Ours would tell how long they took to be noticed, and the next would be asked for later.
        """
        took = sorted(self._took)
        return took[len(took) // 4] if took else FIRST_POLL

    async def report(self, job_id: str) -> JobReport:
        """Tell how the job stands, at most a moment ago; a settled one stays so.

        Raises:
            CloudError: the cloud did not tell; the same error for all who ask meanwhile.
        """
        settled = self._settled.get(job_id)
        if settled is not None:
            return settled
        asked = self._of(job_id)
        loop = asyncio.get_running_loop()
        async with asked.lock:
            if not asked.fresh(loop.time()):
                asked.report = asked.error = None
                try:
                    asked.report = await self._ask(job_id)
                except CloudError as exc:
                    asked.error = exc
                asked.asked_at = loop.time()
                if asked.report is not None and asked.report.state.settled:
                    self._settle(job_id, asked.report)
            if asked.report is None:
                raise asked.error.with_traceback(None) if asked.error else RuntimeError(job_id)
            return asked.report

    def _of(self, job_id: str) -> _Asked:
        asked = self._asked.get(job_id)
        if asked is None:
            now = asyncio.get_running_loop().time()
            asked = self._asked[job_id] = _Asked(since=now)
        self._asked.move_to_end(job_id)
        _bound(self._asked)
        return asked

    def _settle(self, job_id: str, report: JobReport) -> None:
        """Keep of the job what stays so, and learn how long it took."""
        self._asked.pop(job_id, None)
        self._settled[job_id] = report
        _bound(self._settled)
        took = duration(report.begin_time, report.end_time)
        if took is not None:
            metrics.JOBS.observe(took.total_seconds())
            self._took.append(took)


def _bound(jobs: OrderedDict[str, Any]) -> None:
    while len(jobs) > MAX_JOBS:
        jobs.popitem(last=False)


def duration(begin: str | None, end: str | None) -> timedelta | None:
    """The time between two of the cloud's times; ``None`` when they can't be read.

    Three formats of them are known, and empty ones: only the present one is worth reading, since
    nothing but the next poll hangs on it.
    """
    try:
        took = datetime.fromisoformat(end or "") - datetime.fromisoformat(begin or "")
    except (TypeError, ValueError):
        return None
    return took if took >= timedelta() else None
