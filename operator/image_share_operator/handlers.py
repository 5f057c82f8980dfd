"""kopf's world into ours: watch events in, keys out. Nothing else knows kopf."""

import asyncio
import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import aiohttp
import kopf
import uvloop
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.controller.object_store import Store
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.kube.watch.event_filter import response_class
from image_share_operator.kube.watch.ingest import Intake
from image_share_operator.kube.watch.watch_state import Streams
from image_share_operator.planning import requeue
from image_share_operator.sharding import Shard

log = logging.getLogger(__name__)

HEALTHY_S = 60.0
"""A watch that lived for longer was a working one: its end starts a new series of failures."""
BEAT_S = 1.0
MAX_PAUSE = timedelta(seconds=30)
RECONNECT_S = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Between attempts at one request; kopf's own end at 21 s, for which nobody waits gladly."""
LIST_CHUNK = 500
"""Objects per page of the first list: bounds its memory and the API server's."""


def registry(intake: Intake, streams: Streams) -> kopf.OperatorRegistry:
    """Make the handlers. `on.event` alone writes nothing of its own into the objects."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        found = kopf.login_with_service_account(**kwargs)
        if found is not None:
            return _session(_by_address(found, os.environ), streams, intake)
        found = kopf.login_with_kubeconfig(**kwargs)
        return None if found is None else _session(found, streams, intake)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def seen(event: kopf.RawEvent, **_: Any) -> None:
        intake.event(event)

    return handlers


def _session(found: kopf.ConnectionInfo, streams: Streams, intake: Intake) -> kopf.AiohttpSession:
    """As kopf would make it, and it tells its requests. kopf closes it."""
    return kopf.AiohttpSession(
        server=found.server,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
        aiohttp_session=aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
            headers=found.as_http_headers(),
            proxy=found.proxy_url,
            trust_env=found.trust_env,
            trace_configs=[streams.trace()],
            response_class=response_class(intake.is_known, intake.page),
        ),
    )


def _by_address(found: kopf.ConnectionInfo, env: Mapping[str, str]) -> kopf.ConnectionInfo:
    """The same API server as the other calls ask: where the pod is told that it is.

    kopf would ask the cluster's DNS for it, which may be away when it is needed most.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return found
    name = f"[{host}]" if ":" in host else host
    return replace(found, server=f"https://{name}:{port}")


class _NoDiff(kopf.AnnotationsDiffBaseStorage):
    """kopf copies each object to find out what changed for handlers that we do not have."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None


class _NoProgress(kopf.AnnotationsProgressStorage):
    """…and looks for notes about those handlers in each object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence


class _NoMemories(ResourceMemories):
    """…and remembers each object for them: 0.9 KB, in ten pieces for the collector to walk over."""

    async def recall(
        self, raw_body: Any, *, ephemeral: bool = False, **asked: Any
    ) -> ResourceMemory:
        del ephemeral  # none is to outlive its event
        return await super().recall(raw_body, ephemeral=True, **asked)


def settings(request_timeout_s: float, *, scan: bool = True) -> kopf.OperatorSettings:
    """How kopf shall watch: no writes, no events, no waiting for ever.

    Args:
        scan: whether it may look for new kinds and namespaces all the time. It needs rights for
            that which are only given to who serves all of them, and tries for 11 s without.
    """
    chosen = kopf.OperatorSettings()
    chosen.scanning.disabled = not scan
    chosen.posting.enabled = False
    chosen.posting.loggers = False
    chosen.watching.chunk_size = LIST_CHUNK
    chosen.watching.connect_timeout = request_timeout_s
    chosen.networking.request_timeout = request_timeout_s
    chosen.networking.connect_timeout = request_timeout_s
    chosen.networking.error_backoffs = RECONNECT_S
    chosen.networking.enforce_retry_after = True
    # A handler only puts a key away: a worker that waits for the object's next event saves no
    # time (measured up to 1 s), and holds some kilobytes, which a list of ten thousand shows.
    chosen.queueing.idle_timeout = 0.1
    chosen.persistence.diffbase_storage = _NoDiff()
    chosen.persistence.progress_storage = _NoProgress()
    chosen.process.ultimate_exiting_timeout = 20.0
    return chosen


class Watcher:
    """Runs kopf in a thread of its own, again and again until it is told to stop.

    Args:
        clock: seconds, only ever forward.

    A thread, because kopf takes every task of its event loop for its own: at the end it waits
    for them and cancels them, and it takes over the signals of the main thread.
    """

    def __init__(
        self,
        store: Store,
        queue: WorkQueue,
        *,
        namespaces: tuple[str, ...],
        shard: Shard,
        request_timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._intake = functools.partial(Intake, store, queue, shard=shard)
        self._namespaces = namespaces
        self._request_timeout_s = request_timeout_s
        self._clock = clock
        self._stop = threading.Event()
        self._restart = threading.Event()
        self._wake: Callable[[], None] = lambda: None
        self._beat = clock()
        self._runs = 0
        self._streams = Streams(namespaces)

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
            delay = requeue.backoff(failures, jitter=0.5, ceiling=MAX_PAUSE).total_seconds()
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
        self._streams = Streams(self._namespaces)
        intake = self._intake(streams=self._streams, home=home)
        try:
            await kopf.operator(
                registry=registry(intake, self._streams),
                settings=settings(self._request_timeout_s, scan=not self._namespaces),
                memories=_NoMemories(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                # Else it asks for the name of the user, and in a container there is none.
                identity=cast("Any", "image-share-operator"),
                stop_flag=flag,
            )
        finally:
            self._streams = Streams(self._namespaces)  # of which none is open
            beating.cancel()

    async def _keep_beating(self) -> None:
        while True:
            self._beat = self._clock()
            await asyncio.sleep(BEAT_S)


def _wake(loop: asyncio.AbstractEventLoop, flag: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: there is nobody to wake
        loop.call_soon_threadsafe(flag.set)
