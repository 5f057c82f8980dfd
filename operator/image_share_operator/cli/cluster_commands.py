"""The commands `status`, `reconcile`, `suspend` and `resume`: they need a cluster."""

import asyncio
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from image_share_operator.api.types import RECONCILE_AT, Key
from image_share_operator.cli import cluster, output, readiness
from image_share_operator.cli.cluster import Cluster
from image_share_operator.cli.exit_codes import CommandError, Exit
from image_share_operator.cli.readiness import View
from image_share_operator.settings import Settings

POLL = timedelta(seconds=1)
HEARTBEAT = timedelta(seconds=15)
"""Time without a change after which the progress repeats the current state."""


async def run(asked: Namespace, settings: Settings) -> int:
    """Run the command; return the exit code.

    Raises:
        CommandError: the command cannot run, or a resource is not Ready in time.
    """
    _require_selection(asked)
    async with cluster.connect(asked, settings) as api:
        if asked.command == "status":
            return _status(asked, await api.read())
        views = [View.of(row) for row in await api.read()]
        if not views:
            raise CommandError(f"no resource to {asked.command}{_where(api)}", Exit.NOT_FINE)
        if asked.command == "suspend":
            return await _suspend(api, views)
        if asked.command == "resume":
            return await _resume(asked, api, views)
        return await _reconcile(asked, api, views)


def _require_selection(asked: Namespace) -> None:
    if asked.all_namespaces and asked.namespace is not None:
        raise CommandError("-A: not allowed with --namespace")
    if asked.names and asked.all_namespaces:
        raise CommandError("-A: not allowed with NAME; set --namespace")
    if asked.command == "status":
        return
    if asked.names and asked.all:
        raise CommandError("--all: not allowed with NAME")
    if not asked.names and not asked.all:
        raise CommandError(f"{asked.command}: set NAME or --all")


def _where(api: Cluster) -> str:
    namespace = api.selection.namespace
    return " in any namespace" if namespace is None else f" in namespace {namespace}"


def _status(asked: Namespace, resources: Sequence[Mapping[str, Any]]) -> int:
    views = [View.of(row) for row in resources]
    if asked.output in ("json", "yaml"):
        output.data({"resources": [_as_data(view) for view in views]}, asked.output)
    elif not views:
        output.line("No resources found.")
    else:
        _show(views, namespaces=asked.all_namespaces, wide=asked.output == "wide")
    return Exit.FINE if all(view.is_ready for view in views) else Exit.NOT_FINE


def _show(views: Sequence[View], *, namespaces: bool, wide: bool) -> None:
    """Print the table, and below it the messages of resources that need attention."""
    hidden = (() if namespaces else ("NAMESPACE",)) + (() if wide else readiness.WIDE)
    kept = [index for index, title in enumerate(readiness.HEAD) if title not in hidden]
    now = datetime.now(UTC)
    rows = [view.row(now) for view in views]
    output.table(
        [readiness.HEAD[index] for index in kept],
        [[row[index] for index in kept] for row in rows],
        drop=() if wide else readiness.DROP,
    )
    with_message = [view for view in views if view.needs_attention and view.message and not wide]
    if with_message:
        output.line()
    for view in with_message:
        name = str(view.key) if namespaces else view.key.name
        output.line(f"{name}: {view.message}", hang=2)


def _as_data(view: View) -> dict[str, Any]:
    return {
        "namespace": view.key.namespace,
        "name": view.key.name,
        "projectID": view.project,
        "decision": view.decision,
        "suspended": view.suspended,
        "ready": view.ready,
        "stalled": view.stalled,
        "reason": view.reason,
        "message": view.message,
        "images": view.images,
        "current": view.current,
    }


async def _suspend(api: Cluster, views: Sequence[View]) -> int:
    for view in views:
        if view.suspended:
            output.line(f"{view.key}: already suspended")
        else:
            await api.patch(view.key, {"spec": {"suspend": True}})
            output.line(f"{view.key}: suspended")
    return Exit.FINE


async def _resume(asked: Namespace, api: Cluster, views: Sequence[View]) -> int:
    for view in views:
        if view.suspended:
            await api.patch(view.key, {"spec": {"suspend": False}})
            output.line(f"{view.key}: resumed")
        else:
            output.line(f"{view.key}: not suspended")
    if asked.no_wait:
        return Exit.FINE
    return await Wait(asked, api, {view.key: None for view in views}).run()


async def _reconcile(asked: Namespace, api: Cluster, views: Sequence[View]) -> int:
    requests: dict[Key, str | None] = {}
    for view in views:
        if view.suspended:
            output.line(f"{view.key}: suspended; run resume to reconcile it")
            continue
        request = datetime.now(UTC).isoformat()
        change = {"metadata": {"annotations": {RECONCILE_AT: request}}}
        await api.patch(view.key, change)
        output.line(f"{view.key}: reconcile requested")
        requests[view.key] = request
    skipped = Exit.NOT_FINE if len(requests) < len(views) and not asked.all else Exit.FINE
    if asked.no_wait or not requests:
        return skipped
    return max(skipped, await Wait(asked, api, requests).run())


class Wait:
    """Waits until each resource is Ready or Stalled, and prints each change to stderr.

    Args:
        requests: the resources, each with the value of the annotation that the operator must
            handle; ``None`` to wait for the current spec only.
    """

    def __init__(self, asked: Namespace, api: Cluster, requests: Mapping[Key, str | None]) -> None:
        self._timeout: timedelta = asked.timeout
        self._namespaces: bool = asked.all_namespaces
        self._api = api
        self._requests = requests
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._printed: dict[Key, tuple[str, float]] = {}

    async def run(self) -> int:
        """Wait; print the result; return the exit code.

        Raises:
            CommandError: the timeout expired, or the API server rejects a request.
        """
        while True:
            views = await self._read()
            waiting = [view for view in views if not view.settled(self._requests[view.key])]
            deleted = self._requests.keys() - {view.key for view in views}
            if deleted:
                names = ", ".join(sorted(map(str, deleted)))
                raise CommandError(f"deleted while the command waited: {names}", Exit.NOT_FINE)
            for view in views:
                self._report(view)
            if not waiting:
                _show(views, namespaces=self._namespaces, wide=False)
                return Exit.FINE if all(view.is_ready for view in views) else Exit.NOT_FINE
            if self._elapsed() >= self._timeout.total_seconds():
                raise CommandError(self._expired(waiting), Exit.UNREACHABLE)
            await asyncio.sleep(POLL.total_seconds())

    async def _read(self) -> list[View]:
        """Return the resources; try again while the API server is unavailable."""
        while True:
            try:
                views = [View.of(row) for row in await self._api.read()]
            except CommandError as exc:
                retry = exc.code is Exit.UNREACHABLE
                if not retry or self._elapsed() >= self._timeout.total_seconds():
                    raise
                await asyncio.sleep(POLL.total_seconds())
            else:
                return [view for view in views if view.key in self._requests]

    def _report(self, view: View) -> None:
        """Print the state of a resource if it changed, or if nothing was printed for a while."""
        request = self._requests[view.key]
        if view.settled(request):
            state = view.reason
        elif request is not None and view.handled != request:
            state = "waiting for the operator to handle the request"
        else:
            state = f"{view.reason} {view.images}"
        last, at = self._printed.get(view.key, ("", -HEARTBEAT.total_seconds()))
        elapsed = self._elapsed()
        if state != last or (
            not view.settled(request) and elapsed - at >= HEARTBEAT.total_seconds()
        ):
            self._printed[view.key] = (state, elapsed)
            sys.stderr.write(f"{elapsed:5.0f} s  {view.key}: {state}\n")

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _expired(self, waiting: Sequence[View]) -> str:
        view = waiting[0]
        more = f" (and {len(waiting) - 1} more)" if len(waiting) > 1 else ""
        request = self._requests[view.key]
        cause = f"{view.reason}: {view.message}"
        if request is not None and view.handled != request:
            cause = (
                "the operator did not handle the request; check that it is running and that it "
                "watches this namespace"
            )
        seconds = self._timeout.total_seconds()
        return f"{view.key}{more}: not Ready or Stalled after {seconds:g} s: {cause}"
