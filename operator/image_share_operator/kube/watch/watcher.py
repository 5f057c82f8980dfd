"""Runs kopf in a thread of its own, again and again, and tells whether its watch works."""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable
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
"""A watch that lived for longer was a working one: its end starts a new series of failures."""
BEAT_S = 1.0
MAX_PAUSE = timedelta(seconds=30)

Handlers = Callable[[Ingest, WatchState], kopf.OperatorRegistry]
"""Makes the kopf handlers of one run."""


class Watcher:
    """Runs kopf in a thread of its own, again and again until it is told to stop.

    Args:
        handlers: makes the kopf handlers of one run.
        silence_s: time without a watch event after which the watch is opened again.
        clock: monotonic seconds.

    A thread, because kopf takes every task of its event loop for its own: at the end it waits
    for them and cancels them, and it takes over the signals of the main thread.
    """

    def __init__(  # noqa: PLR0913 - the parts of a watch
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
        self._intake = functools.partial(Ingest, store, queue, shard=shard)
        self._handlers = handlers
        self._namespaces = namespaces
        self._request_timeout_s = request_timeout_s
        self._silence_s = silence_s
        self._clock = clock
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._beat = clock()
        self._runs = 0
        self._streams = WatchState(namespaces)

    @property
    def alive(self) -> bool:
        """Whether changes come in, as far as is known."""
        return self._streams.are_open

    @property
    def lists(self) -> tuple[int, int]:
        """Changes whenever all is listed anew: the number of the run, and of lists in it."""
        return self._runs, self._streams.lists

    @property
    def listed(self) -> int:
        """How many objects the latest list has brought, and the watch since; other parts' too."""
        return self._streams.objects

    @property
    def silent_s(self) -> float:
        """For how many seconds the loop of the watch has not moved."""
        return self._clock() - self._beat

    def stop(self) -> None:
        """End the present run and start no other. May be called from any thread."""
        self._stop.set()
        self._wake()

    def restart(self) -> None:
        """End the present run and start another. May be called from any thread.

        kopf looks for kinds when it starts and when a CRD changes; a kind that discovery did not
        know at that moment stays unknown to it.
        """
        self._restart.set()
        self._wake()

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch until told to stop; hand events over to ``loop``. Blocks.

        kopf gives up when the API server is away for long: the work is level-triggered, so a
        watch that starts over loses nothing.
        """
        failures = 0
        while not self._stop.is_set():
            started = time.monotonic()
            why = self._run_once(loop)
            if self._stop.is_set():
                return
            if self._restart.is_set():
                self._restart.clear()
                continue
            failures = 1 if time.monotonic() - started > HEALTHY_S else failures + 1
            delay = backoff.exponential(failures, jitter=0.5, ceiling=MAX_PAUSE).total_seconds()
            log.warning("the watch broke off (%s); starts again in %.0f s", why, delay)
            self._beat = self._clock()
            self._stop.wait(delay)

    def _run_once(self, home: asyncio.AbstractEventLoop) -> str:
        """Run kopf to its end; say why it ended."""
        try:
            uvloop.run(self._operate(home))
        except Exception as exc:  # noqa: BLE001 - whatever ends the watch, the next one may live
            return type(exc).__name__
        return "it ended by itself"

    async def _operate(self, home: asyncio.AbstractEventLoop) -> None:
        # A flag of this loop: kopf waits for one of another kind in a thread, and when a run ends
        # by itself, that thread never does.
        flag = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = functools.partial(_wake, loop, flag)
        if self._stop.is_set():
            return
        beating = loop.create_task(self._keep_beating())
        self._runs += 1
        self._streams = WatchState(self._namespaces)
        ingest = self._intake(watch_state=self._streams, home=home)
        try:
            await kopf.operator(
                registry=self._handlers(ingest, self._streams),
                settings=kopf_settings.settings(
                    self._request_timeout_s, self._silence_s, scan=not self._namespaces
                ),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                # Else it asks for the name of the user, and in a container there is none.
                identity=cast("Any", "image-share-operator"),
                stop_flag=flag,
            )
        finally:
            self._streams = WatchState(self._namespaces)  # of which none is open
            beating.cancel()

    async def _keep_beating(self) -> None:
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_S)


def _wake(loop: asyncio.AbstractEventLoop, flag: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to wake
        loop.call_soon_threadsafe(flag.set)
