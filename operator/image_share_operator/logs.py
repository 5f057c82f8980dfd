"""One form for every log line: text for people, JSON for clusters."""

import logging
import sys
from datetime import UTC, datetime

from pythonjsonlogger.json import JsonFormatter

QUIET = {
    "kopf": logging.WARNING,  # logs a line for each event of each object
    "kopf.objects": logging.ERROR,
    "httpx": logging.WARNING,  # logs a line for each request
    "httpcore": logging.WARNING,
    "aiohttp": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Loggers of others that say too much at their own level."""


def configure(log_format: str, log_level: str) -> None:
    """Send everything to stderr in the chosen form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json() if log_format == "json" else _Text())
    handler.addFilter(_worth_reading)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    for name, level in QUIET.items():
        logging.getLogger(name).setLevel(max(level, root.level))


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


class _Text(logging.Formatter):
    """``2026-01-31T12:00:00.000Z INFO demo/web: Ready True, Accepted: …``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - the name of the base class
        del datefmt
        at = datetime.fromtimestamp(record.created, tz=UTC)
        return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(record.msecs):03}Z"


def _json() -> logging.Formatter:
    return JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "level", "name": "logger", "message": "msg"},
        defaults=None,
        timestamp="time",
    )
