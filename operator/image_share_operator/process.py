"""The operator process: signals, leader election, exit codes."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import uuid

import uvloop

from image_share_operator import __version__, allocator
from image_share_operator.api.errors import KubeError, LostLeadError
from image_share_operator.kube import client, leader_election
from image_share_operator.kube.client import ApiServer
from image_share_operator.kube.leader_election import LeaderElector
from image_share_operator.settings import Settings
from image_share_operator.telemetry import logs, metrics, probes, tracing
from image_share_operator.telemetry.tracing import TracingError
from image_share_operator.wiring import Operator

log = logging.getLogger("image_share_operator")


def serve(settings: Settings, port: socket.socket | None) -> int:
    """Run the operator until SIGTERM or SIGINT; return the exit code.

    Args:
        port: where metrics and probes are served; ``None`` if nowhere.
    """
    logs.configure(settings.log_format, settings.log_levels.general, settings.log_levels.components)
    allocator.save()
    try:
        with tracing.start(os.environ) if tracing.wanted(os.environ) else contextlib.nullcontext():
            uvloop.run(run(settings, port))
    except TracingError as exc:
        log.error("%s", exc)  # noqa: TRY400 - users need no traceback
        return 2
    except KubeError as exc:
        log.error("%s", exc)  # noqa: TRY400 - users need no traceback
        return 1
    except LostLeadError as exc:
        log.error("lost leadership: %s; exiting", exc)  # noqa: TRY400 - users need no traceback
        return 1
    return 0


class ProcessHealth:
    """State for the probes. A standby replica is alive and ready."""

    def __init__(self) -> None:
        self.operator: Operator | None = None

    def why_dead(self) -> str | None:
        """Return the reason why the process must be restarted; ``None`` if healthy."""
        return None if self.operator is None else self.operator.why_dead()

    def why_not_ready(self) -> str | None:
        """Return the reason why the replica cannot reconcile; ``None`` if ready."""
        return None if self.operator is None else self.operator.why_not_ready()


async def run(settings: Settings, port: socket.socket | None) -> None:
    """Run until a signal arrives, and finish the reconciles in progress.

    Raises:
        KubeError: the API server cannot be reached.
        LostLeadError: another replica is the leader, or may become it.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    log.info("starting image-share-operator %s", __version__)
    health = ProcessHealth()
    async with (
        probes.serving(port, metrics.REGISTRY, health),
        client.connect(settings.request_timeout) as api,
    ):
        if settings.leader_election:
            await _serve_while_leading(settings, api, stop, health)
        else:
            operator = Operator(settings, api, may_write=lambda: None)
            await _serve(health, operator, stop)
            await operator.leave()
    log.info("stopped image-share-operator")


async def _serve_while_leading(
    settings: Settings, api: ApiServer, stop: asyncio.Event, health: ProcessHealth
) -> None:
    namespace = settings.lease_namespace or client.own_namespace()
    if namespace is None:
        raise KubeError("leader election needs a namespace outside a pod; set ISA_LEASE_NAMESPACE")
    lock = leader_election.LeaseLock(api, namespace, settings.shard.name(settings.lease_name))
    election = LeaderElector(lock, f"{socket.gethostname()}_{uuid.uuid4()}")
    if not await election.acquire(stop):
        return
    lost: BaseException | None = None
    operator = Operator(settings, api, may_write=election.require_leader)
    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(election.renew())
            await _serve(health, operator, stop)
            renewing.cancel()
    except* LostLeadError as raised:
        lost = raised.exceptions[0]
    if lost is not None:
        raise lost
    await election.release()
    await operator.leave()


async def _serve(health: ProcessHealth, operator: Operator, stop: asyncio.Event) -> None:
    health.operator = operator
    metrics.LEADER.set(1)
    try:
        await operator.serve(stop)
    finally:
        metrics.LEADER.set(0)
