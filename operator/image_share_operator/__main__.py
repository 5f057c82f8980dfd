"""The only place that builds things and hands them to each other."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import kopf

from image_share_operator import __version__, apiserver, handlers, kube, logs, preflight
from image_share_operator.apiserver import ApiServer
from image_share_operator.cloud.call import Caller
from image_share_operator.cloud.gate import Gates, Limits
from image_share_operator.cloud.tenants import Sharing, Tenants, blame
from image_share_operator.cloud.transport import Clients, build_client
from image_share_operator.credentials import CredentialStore
from image_share_operator.election import Election
from image_share_operator.errors import KubeError, LostLeadError
from image_share_operator.pace import Policy
from image_share_operator.queue import WorkQueue
from image_share_operator.reconciler import Reconciler
from image_share_operator.recorder import Recorder
from image_share_operator.settings import Settings, SettingsError
from image_share_operator.store import Store
from image_share_operator.workers import Workers

log = logging.getLogger("image_share_operator")

CONNECT_TIMEOUT = timedelta(seconds=5)
GRACE = timedelta(seconds=2)
"""For passes in hand when the process is told to stop."""
EXIT_USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit code."""
    arguments = _parser().parse_args(argv)
    env = dict(os.environ)
    if arguments.allow_insecure_endpoints:
        env["ISA_ALLOW_INSECURE_ENDPOINTS"] = "true"
    try:
        settings = Settings.from_env(env)
    except SettingsError as exc:
        sys.stderr.write(f"image-share-operator: {exc}\n")
        return EXIT_USAGE
    logs.configure(settings.log_format, settings.log_level)
    try:
        asyncio.run(run(settings))
    except KubeError as exc:
        log.error("%s", exc)  # noqa: TRY400 - the message is for a person, the trace is not
        return 1
    except LostLeadError as exc:
        log.error("no longer leads: %s; ends, to start over", exc)  # noqa: TRY400 - likewise
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="image-share-operator",
        description="Answers Open Telekom Cloud image shares as ImageShareAcceptance "
        "resources say. All settings are ISA_… environment variables; see docs/operations.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--allow-insecure-endpoints",
        action="store_true",
        help="let resources name http:// endpoints; for tests and demos only",
    )
    return parser


async def run(settings: Settings) -> None:
    """Serve until a signal comes; finish what is in hand.

    Raises:
        KubeError: there is no way to the API server.
        LostLeadError: another replica works, or soon may.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("image-share-operator %s starts", __version__)
    async with apiserver.connect(settings.request_timeout) as api:
        if settings.leader_election:
            await _serve_while_leading(settings, api, stop)
        else:
            await _serve(settings, api, stop, may_write=lambda: None)
    log.info("image-share-operator stopped")


async def _serve_while_leading(settings: Settings, api: ApiServer, stop: asyncio.Event) -> None:
    namespace = settings.lease_namespace or apiserver.own_namespace()
    if namespace is None:
        raise KubeError("not in a pod: set ISA_LEASE_NAMESPACE, the namespace of the Lease")
    election = Election(
        kube.Leases(api, namespace, settings.lease_name), f"{socket.gethostname()}_{uuid.uuid4()}"
    )
    if not await election.acquire(stop):
        return
    lost: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            keeping = group.create_task(election.keep())
            await _serve(settings, api, stop, may_write=election.require)
            keeping.cancel()
    except* LostLeadError as raised:
        lost = raised.exceptions[0]
    if lost is not None:
        raise lost
    await election.give_back()


async def _serve(
    settings: Settings, api: ApiServer, stop: asyncio.Event, *, may_write: Callable[[], None]
) -> None:
    loop = asyncio.get_running_loop()
    clients = _clients(settings)
    recorder = Recorder(api)
    store, queue = Store(), WorkQueue(settings.namespace_workers)
    caller = Caller(
        client=clients.get(),
        timeout=settings.request_timeout,
        gates=Gates(Limits(at_once=settings.endpoint_requests, per_second=settings.endpoint_rate)),
        clients=clients.get,
        may_write=may_write,
    )
    cluster = kube.Kube(api, may_write=may_write)
    reconciler = _reconciler(settings, store, cluster, caller, recorder)
    workers = Workers(queue, reconciler.reconcile, settings.workers)

    def deliver(event: kopf.RawEvent) -> None:
        loop.call_soon_threadsafe(handlers.take, event, store, queue)

    watcher = handlers.Watcher(
        deliver,
        namespaces=settings.namespaces,
        request_timeout_s=settings.request_timeout.total_seconds(),
    )
    checks = preflight.Preflight(api, settings.namespaces, complete=watcher.restart)
    async with clients, asyncio.TaskGroup() as group:
        background = [group.create_task(part.run()) for part in (recorder, checks)]
        group.create_task(asyncio.to_thread(watcher.run))
        try:
            await workers.run(stop, GRACE)
        finally:
            watcher.stop()
            for task in background:
                task.cancel()


def _clients(settings: Settings) -> Clients:
    return Clients(
        lambda ca: build_client(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=settings.request_timeout,
            ca=ca,
        )
    )


def _reconciler(
    settings: Settings, store: Store, cluster: kube.Kube, caller: Caller, recorder: Recorder
) -> Reconciler:
    return Reconciler(
        store=store,
        cloud=Tenants(
            caller, _now, Sharing(window=settings.batch_window, images=settings.batch_images)
        ),
        credentials=CredentialStore(cluster, now=_now, ttl=settings.secret_poll),
        kube=cluster,
        emit=recorder.emit,
        blame=blame,
        now=_now,
        policy=Policy(
            batch_images=settings.batch_images,
            slow_retry=settings.slow_retry,
            secret_poll=settings.secret_poll,
        ),
        allow_insecure_endpoints=settings.allow_insecure_endpoints,
    )


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
