"""One form for every log line: text for people, JSON for clusters.

Levels: error, a person must act; warning, it is unusual and will be tried again; info, something
changed; debug, each pass and each exchange with the cloud.
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
"""Parts of the operator that may have a level of their own, and the loggers of each."""

QUIET = {
    "kopf": logging.WARNING,  # logs a line for each event of each object
    "kopf.objects": logging.ERROR,
    "httpx": logging.WARNING,  # logs a line for each request
    "httpcore": logging.WARNING,
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers of others that say too much at their own level."""


def configure(log_format: str, log_level: str, areas: Mapping[str, str]) -> None:
    """Send everything to stderr in the chosen form.

    Args:
        areas: levels of `AREAS` that differ from ``log_level``.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if log_format == "json" else _Text())
    handler.addFilter(_worth_reading)
    handler.addFilter(_with_scope)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))
    for area, word in areas.items():
        for name in AREAS[area]:
            logging.getLogger(name).setLevel(word.upper())


NOISE = (
    "Request attempt",  # an attempt is no news; when kopf gives up, `handlers.watch` says so
    "OS signals are ignored",  # as meant: signals are ours
    "Unresolved resources cannot be served",  # `preflight` says it in words that help
)
"""How lines of kopf begin that say nothing to a person."""


def _worth_reading(record: logging.LogRecord) -> bool:
    """Leave out noise; and the traces of kopf, whose ends `handlers.Watcher` tells in a line."""
    if record.name.startswith("kopf"):
        record.exc_info = record.exc_text = None
    if record.name == "asyncio" and "/kopf/" in str(record.msg):
        return False  # a task of a run that ended
    return not str(record.msg).startswith(NOISE)


def _with_scope(record: logging.LogRecord) -> bool:
    """Add the fields by which lines are found: whose pass it was, and which."""
    here = context.current()
    if here is not None:
        record.__dict__ |= {
            "namespace": here.namespace,
            "object": here.name,
            "generation": here.generation,
            "reconcile_id": here.reconcile_id,
        }
        trace = tracing.trace_id()
        if trace is not None:
            record.__dict__["trace_id"] = trace
    return True


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO demo/web: Ready True, Accepted: …``.

    A line of a pass begins with the object that it was about, whoever wrote it.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(whose)s%(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the name of the base class
        del datefmt
        return zulu(datetime.fromtimestamp(record.created, tz=UTC), "milliseconds")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - likewise
        told = record.__dict__
        whose = f"{told['namespace']}/{told['object']}: " if "object" in told else ""
        told["whose"] = "" if record.message.startswith(whose) else whose
        line = super().formatMessage(record)
        request = record.__dict__.get("request_id")
        return f"{line} (X-Request-Id {request})" if request else line


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        # In this order: the logger makes way for the object, whose name is what people look for.
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
