"""What is known of each job: asked once, however many objects wait for it."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from image_share_operator import metrics, pace
from image_share_operator.errors import CloudError
from image_share_operator.facts import JobReport

FRESH_S = 0.1
"""An answer is good for all who ask within this time, in seconds…"""
FRESH_SHARE = 0.1
"""…or this share of the job's age, if that is longer: an old job is not asked more often."""
FRESH_MOST_S = 5.0
MAX_JOBS = 5_000
LEARNED_FROM = 8
"""So many of the latest jobs tell how long the next may take. The quicker ones of them, a quarter:
a question that is early costs a call, one that is late costs everybody's time."""

Ask = Callable[[str], Awaitable[JobReport]]


@dataclass(slots=True)
class _Known:
    """One job. The lock makes all who ask share one question. Times are the event loop's."""

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


class Jobs:
    """The jobs of one identity."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._took: deque[timedelta] = deque(maxlen=LEARNED_FROM)

    @property
    def typical(self) -> timedelta:
        """How long the quicker ones of the latest jobs took, by the cloud's own clock.

        Ours would tell how long they took to be noticed, and the next would be asked for later.
        """
        took = sorted(self._took)
        return took[len(took) // 4] if took else pace.FIRST_QUESTION

    async def report(self, job_id: str) -> JobReport:
        """Tell how the job stands, at most a moment ago; a settled one stays so.

        Raises:
            CloudError: the cloud did not tell; the same error for all who ask meanwhile.
        """
        known = self._of(job_id)
        loop = asyncio.get_running_loop()
        async with known.lock:
            if not known.fresh(loop.time()):
                known.report = known.error = None
                try:
                    known.report = await self._ask(job_id)
                    self._learn(known.report)
                except CloudError as exc:
                    known.error = exc
                known.asked_at = loop.time()
            if known.report is None:
                raise known.error.with_traceback(None) if known.error else RuntimeError(job_id)
            return known.report

    def _of(self, job_id: str) -> _Known:
        known = self._known.get(job_id)
        if known is None:
            now = asyncio.get_running_loop().time()
            known = self._known[job_id] = _Known(since=now)
        self._known.move_to_end(job_id)
        while len(self._known) > MAX_JOBS:
            self._known.popitem(last=False)
        return known

    def _learn(self, report: JobReport) -> None:
        """Take note of how long the job took: once, for a settled one is not asked again."""
        took = pace.duration(report.begin_time, report.end_time)
        if report.state.settled and took is not None:
            metrics.JOBS.observe(took.total_seconds())
            self._took.append(took)
