"""Membership jobs: their facts, and how they are reported. Pure; no I/O, no clock, no log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from otc_simulator.settings import Settings

# The documentation shows INIT only as "not started"; a third of a second is what pollers at the
# usual second's pace may or may not see.
LONGEST_INIT_SECONDS = 0.3
FOREIGN_IMAGE = "f0f0f0f0-f0f0-4f0f-8f0f-f0f0f0f0f0f0"
"""The image of a row that was not requested (``rows: extra``)."""


class JobKind(StrEnum):
    ADD = "imsAddImageMembersJob"
    UPDATE = "imsUpdateImageMembersJob"
    DELETE = "imsDelImageMembersJob"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFault:
    """How a job differs from the faithful one; the defaults change nothing."""

    fail: tuple[str, ...] = ()
    """Images that fail although nothing is wrong with them; ``("*",)``: all."""
    partial: str | None = None
    """How failed images are reported: A, B, C (the setting ``job_failure`` when None).

    A: SUCCESS with failed rows. B: FAIL with mixed rows. C: FAIL with ``error_code`` and
    ``error`` in ``entities`` and nothing else. ``C-empty``: FAIL with empty ``entities``.
    """
    rows: str | None = None
    """Partial D: missing, empty, short, duplicate, unordered, extra."""
    row_failure: str = "failed"
    apply: str | None = None
    """What becomes of the memberships whatever the job says: ``nothing`` or ``everything``."""
    stuck: str | None = None
    """INIT or RUNNING, for ever."""
    status: str | None = None
    """The settled job's status word, e.g. PENDING or ``success``."""
    times: str | None = None
    """legacy, empty, null."""
    error_code: str = "IMG.0061"
    fail_reason: str = "unknown system error"
    seconds: float | None = None
    expires_after_seconds: float | None = None
    """The record is gone this long after the job settled."""


JOB_FAULT_CHOICES = {
    "partial": ("A", "B", "C", "C-empty"),
    "rows": ("missing", "empty", "short", "duplicate", "unordered", "extra"),
    "apply": ("nothing", "everything"),
    "stuck": ("INIT", "RUNNING"),
    "times": ("legacy", "empty", "null"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    image_id: str
    error_code: str | None
    """None: the image's membership is as asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    id: str
    kind: JobKind
    project_id: str
    """The project that submitted it."""
    images: tuple[str, ...]
    projects: tuple[str, ...]
    """The members that change; for UPDATE the recipient alone."""
    status: str | None
    """UPDATE only: accepted or rejected."""
    vault_id: str | None
    submitted_at: datetime
    ends_at: datetime
    fault: JobFault
    rows: tuple[Row, ...] | None = None
    """None until settled: one row per distinct image, in the order of the request."""

    @property
    def starts_at(self) -> datetime:
        lasts = self.ends_at - self.submitted_at
        return self.submitted_at + min(timedelta(seconds=LONGEST_INIT_SECONDS), lasts / 3)

    def expired(self, now: datetime, settings: Settings) -> bool:
        kept_s = self.fault.expires_after_seconds
        if kept_s is None:
            kept_s = settings.job_retention_seconds
        if kept_s is None or self.rows is None or self.fault.stuck:
            return False
        return now >= self.ends_at + timedelta(seconds=kept_s)


def state_of(job: Job, now: datetime, settings: Settings) -> str:
    """Return the status word that both job endpoints show."""
    if now < job.starts_at or job.fault.stuck == "INIT":
        return "INIT"
    if job.rows is None or job.fault.stuck == "RUNNING":
        return "RUNNING"
    if job.fault.status is not None:
        return job.fault.status
    return "FAIL" if _told_as_failed(job, settings) else "SUCCESS"


def full_view(job: Job, now: datetime, settings: Settings) -> dict[str, object]:
    """Return endpoint A's answer: per-image ``results``."""
    settled = state_of(job, now, settings) not in ("INIT", "RUNNING")
    return _head(job, now, settings) | {"entities": _entities(job, settings) if settled else {}}


def progress_view(job: Job, now: datetime, settings: Settings) -> dict[str, object]:
    """Return endpoint B's answer: progress, no per-image results."""
    state = state_of(job, now, settings)
    percent = {"INIT": 0, "RUNNING": 0.5}.get(state, 1)
    entities = {"process_percent": percent, "current_task": ""}
    return _head(job, now, settings) | {"entities": entities}


def _told_as_failed(job: Job, settings: Settings) -> bool:
    failed = any(row.error_code for row in job.rows or ())
    return failed and (job.fault.partial or settings.job_failure) != "A"


def _head(job: Job, now: datetime, settings: Settings) -> dict[str, object]:
    state = state_of(job, now, settings)
    settled = state not in ("INIT", "RUNNING")
    failed = settled and _told_as_failed(job, settings)
    code = next((row.error_code for row in job.rows or () if row.error_code), None)
    unset = "" if job.fault.times == "legacy" else None
    return {
        "job_id": job.id,
        "job_type": job.kind.value,
        "begin_time": _time(job.submitted_at, job, settings),
        "end_time": _time(job.ends_at, job, settings) if settled else unset,
        "status": state,
        "error_code": code if failed else None,
        "fail_reason": _reason(job, code) if failed else None,
    }


def _reason(job: Job, code: str | None) -> str:
    return job.fault.fail_reason if code == job.fault.error_code else f"{code}: image refused"


def _time(at: datetime, job: Job, settings: Settings) -> str | None:
    shown = at + timedelta(seconds=settings.clock_skew_seconds)
    millis = shown.microsecond // 1000
    match job.fault.times:
        case "null":
            return None
        case "empty":
            return ""
        case "legacy":
            return f"{shown:%d-%b-%Y %H:%M:%S}:{millis:03d}"
        case _:
            return f"{shown:%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def _entities(job: Job, settings: Settings) -> dict[str, object]:
    rows = job.rows or ()
    partial = job.fault.partial or settings.job_failure
    if partial.startswith("C") and any(row.error_code for row in rows):
        if partial == "C-empty":
            return {}
        code = next(row.error_code for row in rows if row.error_code)
        return {"error_code": code, "error": _reason(job, code)}
    if job.fault.rows == "missing":
        return {}
    # The documented sample of a delete job that succeeded has no rows (reference, 3.2).
    if job.kind is JobKind.DELETE and not any(row.error_code for row in rows):
        return {"results": []}
    return {"results": _told_rows([_row(row, job, settings) for row in rows], job.fault.rows)}


def _row(row: Row, job: Job, settings: Settings) -> dict[str, str]:
    status = job.fault.row_failure if row.error_code else "success"
    told = {"image_id": row.image_id, "status": status}
    return told | {"project_id": job.projects[0]} if settings.result_project_id else told


def _told_rows(rows: Sequence[dict[str, str]], shape: str | None) -> list[dict[str, str]]:
    match shape:
        case "empty":
            return []
        case "short":
            return list(rows[:-1])
        case "duplicate":
            return [row for row in rows for _ in range(2)]
        case "unordered":
            return list(reversed(rows))
        case "extra":
            return [*rows, {"image_id": FOREIGN_IMAGE, "status": "success"}]
        case _:
            return list(rows)
