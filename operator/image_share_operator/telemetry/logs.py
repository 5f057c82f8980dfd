"""Configures logging, as text or JSON.

Levels: error means that a user must act; warning means an unusual event that is retried; info means
a change; debug means each reconcile and each request to the cloud API.
"""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter

from image_share_operator.telemetry import context, tracing
from image_share_operator.timestamps import zulu

OWN = "image_share_operator"
AREAS: Mapping[str, tuple[str, ...]] = {
    "objects": (f"{OWN}.controller",),
    "cloud": (f"{OWN}.cloud",),
    "events": (f"{OWN}.kube.event_recorder",),
    "lease": (f"{OWN}.kube.leader_election",),
    "watch": (f"{OWN}.handlers", f"{OWN}.kube.watch", f"{OWN}.kube.preflight", "kopf"),
}
"""Components that can have a separate log level, and their loggers."""

QUIET = {
    "kopf": logging.WARNING,  # logs each event of each object
    "kopf.objects": logging.ERROR,
    "httpx": logging.WARNING,  # logs each request
    "httpcore": logging.WARNING,
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Minimum levels of loggers of libraries that log too much."""


def configure(log_format: str, log_level: str, areas: Mapping[str, str]) -> None:
    """Log to stderr in this format.

    Args:
        areas: levels by component of `AREAS`, where they differ from ``log_level``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if log_format == "json" else _Text())
    handler.addFilter(_is_relevant)
    handler.addFilter(_add_reconcile)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    for area, word in areas.items():
        for name in AREAS[area]:
            logging.getLogger(name).setLevel(word.upper())


NOISE = (
    "Request attempt",  # the watcher logs when kopf gives up
    "OS signals are ignored",  # intended: this process handles signals
    "Unresolved resources cannot be served",  # `preflight` logs the cause
)
"""Prefixes of messages of kopf that are dropped."""


def _is_relevant(record: logging.LogRecord) -> bool:
    """Drop noise, and tracebacks of kopf: the watcher logs its errors in one line."""
    if record.name.startswith("kopf"):
        record.exc_info = record.exc_text = None
    if record.name == "asyncio" and "/kopf/" in str(record.msg):
        return False  # a task of a kopf run that has stopped
    return not str(record.msg).startswith(NOISE)


def _add_reconcile(record: logging.LogRecord) -> bool:
    """Add the fields of the current reconcile to the record."""
    reconcile = context.current()
    if reconcile is not None:
        record.__dict__ |= {
            "namespace": reconcile.namespace,
            "object": reconcile.name,
            "generation": reconcile.generation,
            "reconcile_id": reconcile.reconcile_id,
        }
        trace = tracing.trace_id()
        if trace is not None:
            record.__dict__["trace_id"] = trace
    return True


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO demo/web: Ready True, Accepted: …``.

    A line that belongs to a reconcile starts with the namespace and name of the resource.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(resource)s%(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - overrides the base class
        del datefmt
        return zulu(datetime.fromtimestamp(record.created, tz=UTC), "milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides the base class
        fields = record.__dict__
        resource = f"{fields['namespace']}/{fields['object']}: " if "object" in fields else ""
        fields["resource"] = "" if record.message.startswith(resource) else resource
        line = super().formatMessage(record)
        request = record.__dict__.get("request_id")
        return f"{line} (X-Request-Id {request})" if request else line


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        # In this order: "name" is first moved to "logger", then it is the name of the resource.
        rename_fields={
            "levelname": "level",
            "name": "logger",
            "message": "msg",
            "object": "name",
            "reconcile_id": "reconcileID",
            "job_id": "jobID",
            "request_id": "requestID",
            "trace_id": "traceID",
        },
        timestamp="time",
    )
