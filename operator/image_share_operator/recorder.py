"""Writes Events: in the background, bounded, and never in the way of a pass."""

import asyncio
import logging
import socket
import uuid
from datetime import UTC, datetime
from typing import Any

from image_share_operator import metrics
from image_share_operator.api import API_VERSION, GROUP, KIND
from image_share_operator.apiserver import ApiServer, path
from image_share_operator.errors import KubeError
from image_share_operator.events import Event

log = logging.getLogger(__name__)

EVENTS = "events.k8s.io"
COMPONENT = f"{GROUP}/image-share-operator"
BACKLOG = 1_000
"""Events that wait to be written; more are dropped, as other writers of Events do."""
BURST = 50
PER_SECOND = 25.0
"""Events are for people: a thousand objects at once must not double the load on the API server."""
NOTE_LENGTH = 1_024
"""The API server refuses a longer note."""


class Recorder:
    """Takes Events and writes them one after the other."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._instance = socket.gethostname()[:128]
        self._backlog: asyncio.Queue[Event] = asyncio.Queue(BACKLOG)

    def emit(self, event: Event) -> None:
        """Take an Event; drop it when too many wait."""
        try:
            self._backlog.put_nowait(event)
        except asyncio.QueueFull:
            metrics.EVENTS_DROPPED.inc()
            log.debug("%s: event %s dropped, too many wait", event.key, event.reason)

    async def run(self) -> None:
        """Write Events until cancelled."""
        loop = asyncio.get_running_loop()
        allowance, at = float(BURST), loop.time()
        while True:
            event = await self._backlog.get()
            allowance = min(BURST, allowance + (loop.time() - at) * PER_SECOND)
            at = loop.time()
            if allowance < 1:
                await asyncio.sleep((1 - allowance) / PER_SECOND)
            allowance -= 1
            await self._write(event)

    async def _write(self, event: Event) -> None:
        try:
            await self._api.call(
                "create",
                path("apis", EVENTS, "v1", "namespaces", event.key.namespace, "events"),
                resource=f"events.{EVENTS}",
                namespace=event.key.namespace,
                body=self._body(event),
            )
        except KubeError as exc:
            log.warning("%s: event %s not written: %s", event.key, event.reason, exc)
        except Exception:
            # An Event is a courtesy: whatever is wrong with one must not stop the work.
            log.exception("%s: event %s not written", event.key, event.reason)

    def _body(self, event: Event) -> dict[str, Any]:
        return {
            "apiVersion": f"{EVENTS}/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{event.key.name[:200]}.{uuid.uuid4().hex[:16]}",
                "namespace": event.key.namespace,
            },
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds"),
            "type": event.type.value,
            "reason": event.reason,
            "action": event.action,
            "note": event.note[:NOTE_LENGTH],
            "reportingController": COMPONENT,
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": event.key.namespace,
                "name": event.key.name,
                "uid": event.uid,
            },
        }
