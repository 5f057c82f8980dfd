"""Takes keys from the work queue and reconciles them, a bounded number at a time."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from image_share_operator.api.errors import KubeError, KubeRetryableError, LostLeadError
from image_share_operator.api.types import Key
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.flowcontrol import backoff
from image_share_operator.telemetry import context, metrics, tracing

log = logging.getLogger(__name__)

LOST_LEAD_RETRY = timedelta(seconds=1)
"""Delay after a reconcile that ended because another replica may be the leader. The process ends
before, unless the API server is available again in time."""

Reconcile = Callable[[Key], Awaitable[timedelta | None]]


class WriteGate(Protocol):
    """The writes to the cloud that a shutdown ends."""

    def close(self) -> None:
        """Allow no new write."""
        ...

    def abort(self) -> None:
        """End all writes in flight, as if their responses were lost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """How work ends on SIGTERM.

    Attributes:
        response_timeout: how long to wait for the responses to writes in flight.
        status_timeout: how long to wait for all statuses to be written after that.
        save: writes the statuses that could not be written before.
    """

    writes: WriteGate
    save: Callable[[], Awaitable[None]]
    response_timeout: timedelta = timedelta(seconds=0.8)
    status_timeout: timedelta = timedelta(seconds=0.8)


class Workers:
    """Starts a reconcile for each key that is due.

    Args:
        most: reconciles in progress, of all namespaces. Most of them wait for I/O.
    """

    def __init__(self, queue: WorkQueue, reconcile: Reconcile, most: int) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._free = asyncio.Semaphore(most)
        self._in_progress: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, ending: Shutdown | None = None) -> None:
        """Work until ``stop`` is set; then finish what is in progress.

        Args:
            ending: ``None`` to cancel all reconciles at once.

        Raises:
            Exception: what ended the loop that starts reconciles.
        """
        beginning = asyncio.create_task(self._begin())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((beginning, stopping), return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
            beginning.cancel()
            if ending is not None:
                await self._finish(ending)
        finally:
            tasks = (beginning, stopping, *self._in_progress)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _finish(self, ending: Shutdown) -> None:
        """Let reconciles finish; then record in the statuses what was sent to the cloud.

        A reconcile that is cancelled after that loses nothing but a read.
        """
        ending.writes.close()
        if self._in_progress:
            await asyncio.wait(self._in_progress, timeout=ending.response_timeout.total_seconds())
        ending.writes.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ending.status_timeout.total_seconds()):
                if self._in_progress:
                    await asyncio.wait(self._in_progress)
                await ending.save()

    async def _begin(self) -> None:
        while True:
            await self._free.acquire()
            task = asyncio.create_task(self._work(await self._queue.get()))
            self._in_progress.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_progress.discard(task)
        self._free.release()

    async def _work(self, key: Key) -> None:
        requeue_after: timedelta | None = None
        here = context.enter(key.namespace, key.name)
        began = time.perf_counter()
        try:
            with tracing.tracer.start_as_current_span(
                "reconcile", attributes=here.attributes
            ) as span:
                requeue_after = await self._reconcile_key(key)
                span.set_attribute("reconcile.generation", here.generation or 0)
        finally:
            took = time.perf_counter() - began
            metrics.PASSES.observe(took)
            log.debug("%s: reconciled in %.3f s; next in %s", key, took, requeue_after)
            self._queue.done(key, requeue_after)

    async def _reconcile_key(self, key: Key) -> timedelta | None:
        try:
            requeue_after = await self._reconcile(key)
        except KubeError as exc:
            level = logging.DEBUG if isinstance(exc, KubeRetryableError) else logging.ERROR
            log.log(level, "%s: %s", key, exc)
            return self._delay(key, exc)
        except LostLeadError:
            return LOST_LEAD_RETRY
        except Exception as exc:
            # An error in one object must not stop the others.
            metrics.FAULTS.inc()
            log.exception("%s: the reconcile failed with a bug of the operator", key)
            return self._delay(key, exc)
        self._queue.succeeded(key)
        return requeue_after

    def _delay(self, key: Key, exc: Exception) -> timedelta:
        failures = self._queue.failed(key)
        asked = exc.retry_after if isinstance(exc, KubeRetryableError) else None
        jitter = random.SystemRandom().random()
        return backoff.exponential(failures, jitter=jitter, retry_after=asked)
