"""Creates and connects all parts of the operator, and runs them."""

import asyncio
import functools
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from image_share_operator import handlers
from image_share_operator.allocator import HeapTrimmer
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import ConditionType, SelectionVerdict
from image_share_operator.cloud.http.circuit_breaker import CircuitBreakers
from image_share_operator.cloud.http.client import CloudHttpClient, init_error_counters
from image_share_operator.cloud.http.inflight_writes import InflightWrites
from image_share_operator.cloud.http.transport import HttpClients
from image_share_operator.cloud.iam.signing import SigningForm
from image_share_operator.cloud.sessions import BatchSettings, Sessions, classify_failure
from image_share_operator.controller.credential_cache import CredentialStore
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.controller.workers import Shutdown, Workers
from image_share_operator.controller.workqueue import WorkQueue
from image_share_operator.flowcontrol.limiter import Limiters, Limits
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.event_recorder import EventRecorder
from image_share_operator.kube.objects import ObjectClient
from image_share_operator.kube.preflight import Preflight
from image_share_operator.kube.watch.resync import Resync
from image_share_operator.kube.watch.sync_check import SyncCheck
from image_share_operator.kube.watch.watcher import Watcher
from image_share_operator.planning.requeue import Policy
from image_share_operator.settings import Settings
from image_share_operator.telemetry import metrics

CONNECT_TIMEOUT = timedelta(seconds=5)
SYNC_LIMIT = timedelta(seconds=30)
"""How long new resources wait for the first complete list. It takes a second; a namespace that
cannot be listed must not block the others."""
WATCH_GRACE_S = 1.0
"""Seconds to wait for the end of the watch thread. Short, because the watch writes nothing."""


def _begin_counting() -> None:
    """Start all counters at zero, so that Prometheus sees the first increase."""
    init_error_counters()
    for reason in Reason:
        metrics.RETRIES.labels(reason)


class Operator:
    """All parts of a replica that is the leader.

    Args:
        may_write: raises if this process is no longer the leader.
    """

    def __init__(
        self, settings: Settings, api: ApiServer, *, may_write: Callable[[], None]
    ) -> None:
        _begin_counting()
        self._settings = settings
        self._watching: threading.Thread | None = None
        self._queue = WorkQueue(settings.namespace_workers, settings.workers)
        self._store = ObjectStore(_now, requeue=self._queue.add)
        self._began_at = _now()
        self._recorder = EventRecorder(api, _now)
        self._circuits = CircuitBreakers(_now)
        self._clients = HttpClients.with_timeouts(
            connect=CONNECT_TIMEOUT,
            read=settings.request_timeout,
            proxy=settings.https_proxy,
            no_proxy=settings.no_proxy,
        )
        self._writes = InflightWrites()
        kube = ObjectClient(api, may_write=may_write)
        self._credentials = CredentialStore(kube, now=_now, ttl=settings.secret_poll)
        self._sessions = self._build_sessions(may_write)
        reconciler = self._build_reconciler(kube)
        self._shutdown = Shutdown(writes=self._writes, save=reconciler.status_writer.save_all)
        self._workers = Workers(self._queue, reconciler.reconcile, settings.workers)
        self._watcher = Watcher(
            self._store,
            self._queue,
            functools.partial(handlers.registry, login_interval=settings.login_interval),
            namespaces=settings.namespaces,
            shard=settings.shard,
            request_timeout_s=settings.request_timeout.total_seconds(),
            silence_s=settings.watch_silence.total_seconds(),
        )
        self._preflight = Preflight(api, settings.namespaces, on_complete=self._watcher.restart)
        self._resync = Resync(api, settings.namespaces, self._store, self._queue)
        self._sync_check = SyncCheck(
            api,
            settings.namespaces,
            stored_count=self._stored_count,
            watch=self._watcher,
            # A shard keeps no objects of other shards, so it cannot detect a missing one.
            resync=None if self._is_sharded else self._resync.resync,
        )

    async def serve(self, stop: asyncio.Event) -> None:
        """Run until ``stop`` is set, and finish the reconciles in progress. Then write nothing."""
        live = metrics.StateCollector(self._views())
        metrics.REGISTRY.register(live)
        try:
            async with self._clients, asyncio.TaskGroup() as group:
                parts = (
                    self._recorder,
                    self._preflight,
                    self._sync_check,
                    self._resync,
                    HeapTrimmer(),
                )
                background = [group.create_task(part.run()) for part in parts]
                # A daemon thread, because kopf cannot be stopped while it waits for the API server.
                loop = asyncio.get_running_loop()
                self._watching = threading.Thread(
                    target=self._watcher.run, args=(loop,), daemon=True
                )
                self._watching.start()
                try:
                    await self._workers.run(stop, self._shutdown)
                finally:
                    self._watcher.stop()
                    for task in background:
                        task.cancel()
        finally:
            metrics.REGISTRY.unregister(live)

    async def leave(self) -> None:
        """Wait up to WATCH_GRACE_S for the end of the watch thread."""
        if self._watching is not None:
            await asyncio.to_thread(self._watching.join, WATCH_GRACE_S)

    def why_not_ready(self) -> str | None:
        """Return the reason why the replica cannot reconcile; ``None`` if ready."""
        return self._sync_check.why_not_ready()

    def why_dead(self) -> str | None:
        """Return the reason why the process must be restarted; ``None`` if healthy."""
        if self._watcher.blocked_s > self._settings.watch_stuck.total_seconds():
            return f"the watch loop has been blocked for {self._watcher.blocked_s:.0f} s"
        return None

    def _build_sessions(self, may_write: Callable[[], None]) -> Sessions:
        settings = self._settings
        limits = Limits(at_once=settings.endpoint_requests, per_second=settings.endpoint_rate)
        http_client = CloudHttpClient(
            client=self._clients.get(),
            timeout=settings.request_timeout,
            limiters=Limiters(limits),
            circuits=self._circuits,
            clients=self._clients.get,
            may_write=may_write,
            writes=self._writes,
        )
        return Sessions(
            http_client,
            _now,
            BatchSettings(window=settings.batch_window, images=settings.batch_images),
            signing_form=SigningForm(settings.signing_form),
            id_tokens=self._credentials.id_token,
            insecure=settings.allow_insecure_endpoints,
        )

    def _build_reconciler(self, kube: ObjectClient) -> Reconciler:
        settings = self._settings
        return Reconciler(
            store=self._store,
            cloud=self._sessions,
            credentials=self._credentials,
            kube=kube,
            emit=self._recorder.emit,
            classify_failure=classify_failure,
            now=_now,
            policy=Policy(
                batch_images=settings.batch_images,
                lag=settings.membership_lag,
                late_effect=settings.late_effect,
                slow_retry=settings.slow_retry,
                secret_poll=settings.secret_poll,
                share_poll=settings.share_poll,
            ),
            allow_insecure_endpoints=settings.allow_insecure_endpoints,
            is_synced=self._is_synced,
        )

    def _is_synced(self) -> bool:
        """Return whether conflicts are known as well as they will be."""
        return self._sync_check.has_synced or _now() > self._began_at + SYNC_LIMIT

    @property
    def _is_sharded(self) -> bool:
        return self._settings.shard.count > 1

    def _stored_count(self) -> int:
        """Return the number of objects of the watch; for a shard, of its first list, unfiltered."""
        return self._watcher.object_count if self._is_sharded else len(self._store)

    def _views(self) -> metrics.Views:
        return metrics.Views(
            objects=self._objects,
            waiting=self._queue.waiting,
            busy=lambda: self._queue.busy,
            circuits=lambda: self._circuits.open,
            tokens=self._sessions.oldest_token_s,
            selections=self._selections,
            selects_nothing_s=self._selects_nothing_s,
            token_expiry=self._token_expiry,
        )

    def _token_expiry(self) -> float | None:
        """When the first token of a Secret expires, in seconds since the epoch."""
        ends = (entry.runtime.token_end for entry in self._store)
        return min((end.at.timestamp() for end in ends if end is not None), default=None)

    def _objects(self) -> Mapping[tuple[str, str], int]:
        """Count the objects by status and reason of the Ready condition."""
        found: Counter[tuple[str, str]] = Counter()
        for entry in self._store:
            ready = entry.known.condition(ConditionType.READY)
            known = (
                ("Unknown", Reason.PROGRESSING) if ready is None else (ready.status, ready.reason)
            )
            found[known] += 1
        return found

    def _selections(self) -> Mapping[str, int]:
        """Count the images of all selectors by verdict."""
        found = Counter(dict.fromkeys(SelectionVerdict, 0))
        for entry in self._store:
            if entry.known.selected is not None:
                found.update(row.selection for row in entry.known.images if row.selection)
        return {verdict.value: count for verdict, count in found.items()}

    def _selects_nothing_s(self) -> float:
        """For how long a selector has selected no image: the longest time, in seconds."""
        since = (
            waits.last_transition_time
            for entry in self._store
            if (waits := entry.known.condition(ConditionType.RECONCILING)) is not None
            and waits.reason is Reason.NOTHING_SELECTED
        )
        oldest = min(since, default=None)
        return 0.0 if oldest is None else (_now() - oldest).total_seconds()


def _now() -> datetime:
    return datetime.now(UTC)
