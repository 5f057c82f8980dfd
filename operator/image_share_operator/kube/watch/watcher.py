"""The watcher: runs kopf in its own thread, and runs it again when it ends."""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, cast

import kopf
import uvloop

from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.flowcontrol import backoff
from image_share_operator.kube.watch import kopf_settings
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watch_state import WatchState
from image_share_operator.sharding import Shard

log = logging.getLogger(__name__)

HEALTHY_S = 60.0
"""Seconds after which a run counts as healthy: its end starts a new series of failures."""
HEARTBEAT_S = 1.0
"""Seconds between two heartbeats of the event loop of the watch."""
MAX_BACKOFF = timedelta(seconds=30)
"""The longest delay between two runs of kopf."""
END_S = 10.0
"""Seconds that kopf has to end a run. It waits 5 s for its tasks before it cancels them."""
CANCEL_INTERVAL_S = 1.0
"""Seconds between two attempts to cancel the tasks of a run that does not end."""

Handlers = Callable[[Ingest, WatchState], kopf.OperatorRegistry]
"""Returns the kopf handlers for one run."""


class Watcher:
    """Runs kopf in a thread until `stop` is called.

    Args:
        handlers: returns the kopf handlers for one run.
        silence_s: seconds without a watch event after which kopf reconnects.
        clock: monotonic seconds.

    kopf needs its own thread: when it ends, it waits for all tasks of its event loop and cancels
    them. In the main thread it would also handle the signals of the process.
    """

    def __init__(  # noqa: PLR0913 - all parts of a watch
        self,
        store: ObjectStore,
        queue: WorkQueue,
        handlers: Handlers,
        *,
        namespaces: tuple[str, ...],
        shard: Shard,
        request_timeout_s: float,
        silence_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._create_ingest = functools.partial(Ingest, store, queue, shard=shard)
        self._handlers = handlers
        self._namespaces = namespaces
        self._request_timeout_s = request_timeout_s
        self._silence_s = silence_s
        self._clock = clock
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._end_run: Callable[[], None] = lambda: None
        self._heartbeat_at = clock()
        self._run_count = 0
        self._state = WatchState(namespaces)

    @property
    def is_open(self) -> bool:
        """Whether all watch streams are open, as far as is known."""
        return self._state.all_open

    @property
    def list_id(self) -> tuple[int, int]:
        """Identifies the latest list: the number of the run, and of the list in it."""
        return self._run_count, self._state.list_count

    @property
    def object_count(self) -> int:
        """The number of objects in the latest list and in the events after it, of all shards."""
        return self._state.object_count

    @property
    def blocked_s(self) -> float:
        """Seconds since the last heartbeat of the event loop of the watch."""
        return self._clock() - self._heartbeat_at

    def stop(self) -> None:
        """End the current run and do not start another. May be called from any thread."""
        self._stop.set()
        self._end_run()

    def restart(self) -> None:
        """End the current run and start another. May be called from any thread.

        kopf searches for kinds when it starts and when a CRD changes. It does not find a kind that
        discovery did not have at that moment.
        """
        self._restart.set()
        self._end_run()

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run kopf again and again until `stop` is called. Blocks.

        kopf ends when the API server is unavailable for longer. A new run loses nothing: it lists
        all objects.

        Args:
            loop: the main loop, which the store and the queue belong to.
        """
        failures = 0
        while not self._stop.is_set():
            started_at = time.monotonic()
            cause = self._run_once(loop)
            if self._stop.is_set():
                return
            if self._restart.is_set():
                self._restart.clear()
                continue
            failures = 1 if time.monotonic() - started_at > HEALTHY_S else failures + 1
            delay = backoff.exponential(failures, jitter=0.5, ceiling=MAX_BACKOFF).total_seconds()
            log.warning("watch ended (%s); restarting in %.0f s", cause, delay)
            self._heartbeat_at = self._clock()
            self._stop.wait(delay)

    def _run_once(self, home: asyncio.AbstractEventLoop) -> str:
        """Run kopf until it ends; return the cause."""
        try:
            uvloop.run(self._run_kopf(home))
        except Exception as exc:  # noqa: BLE001 - the next run may succeed, whatever ended this one
            return type(exc).__name__
        return "kopf returned"

    async def _run_kopf(self, home: asyncio.AbstractEventLoop) -> None:
        """Run kopf until it ends.

        Raises:
            TimeoutError: it did not end in time, and its tasks were cancelled.
            Exception: the cause of the end, by kopf.
        """
        # An event of this loop: kopf waits for other kinds of flags in a helper thread, which stays
        # alive after a run that ended for another reason.
        stop_flag = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._end_run = functools.partial(_set, loop, stop_flag)
        if self._stop.is_set():
            return
        heartbeat = loop.create_task(self._heartbeat())
        self._run_count += 1
        self._state = WatchState(self._namespaces)
        ingest = self._create_ingest(watch_state=self._state, home=home)
        registry = self._handlers(ingest, self._state)

        @kopf.on.cleanup(registry=registry)
        async def note_end(**_: Any) -> None:  # kopf calls it at each end, also after an error
            stop_flag.set()

        operator = loop.create_task(
            kopf.operator(
                registry=registry,
                settings=kopf_settings.settings(
                    self._request_timeout_s, self._silence_s, scan=not self._namespaces
                ),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                # By default kopf uses the name of the user, which a container may not have.
                identity=cast("Any", "image-share-operator"),
                stop_flag=stop_flag,
            )
        )
        try:
            await _wait_for_end(operator, stop_flag)
        finally:
            self._state = WatchState(self._namespaces)  # no stream is open
            heartbeat.cancel()

    async def _heartbeat(self) -> None:
        while True:
            self._heartbeat_at = self._clock()
            await asyncio.sleep(HEARTBEAT_S)


async def _wait_for_end(operator: asyncio.Task[None], ending: asyncio.Event) -> None:
    """Wait until kopf ends, but not longer than `END_S` after it began to end.

    When the watch of one namespace fails while the API server has not yet answered the watch of
    another one, the task of the second absorbs its cancellation (kopf 1.45.2, ``api.stream``) and
    waits for credentials that nothing provides. kopf would wait for this task without a limit.

    Raises:
        TimeoutError: kopf did not end in time, and its tasks were cancelled.
        Exception: the cause of the end, by kopf.
    """
    ends = asyncio.ensure_future(ending.wait())
    await asyncio.wait({operator, ends}, return_when=asyncio.FIRST_COMPLETED)
    ends.cancel()
    asyncio.get_running_loop().set_exception_handler(_log_late_error)
    await asyncio.wait({operator}, timeout=END_S)
    if operator.done():
        return await operator
    log.warning("kopf did not end within %.0f s; cancelling its tasks", END_S)
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=CANCEL_INTERVAL_S)
    raise TimeoutError


def _log_late_error(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log what goes wrong in a run that ends anyway; by default asyncio logs a traceback."""
    log.debug("while kopf ends: %s: %r", context["message"], context.get("exception"))


def _set(loop: asyncio.AbstractEventLoop, flag: asyncio.Event) -> None:
    """Set a flag of another loop."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: the run has ended
        loop.call_soon_threadsafe(flag.set)
