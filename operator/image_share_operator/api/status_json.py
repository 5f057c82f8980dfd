"""The JSON of `.status`, written and read. No I/O, no clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any

from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    REGIONS,
    Cloud,
    Condition,
    ConditionType,
    Decision,
    Endpoints,
    ImageStatus,
    InDoubtBatch,
    Interface,
    Job,
    JobState,
    LatestImage,
    Membership,
    OpenStack,
    SelectionVerdict,
    Status,
)
from image_share_operator.timestamps import zulu

Json = dict[str, Any]


def write(status: Status) -> Json:
    """The JSON of `.status`; absent values are left out."""
    return _present(
        {
            "observedGeneration": status.observed_generation,
            "conditions": [_condition_out(row) for row in status.conditions],
            "job": None if status.job is None else _job_out(status.job),
            "unanswered": None if status.unanswered is None else _unanswered_out(status.unanswered),
            "images": [_image_out(row) for row in status.images],
            "latest": [_latest_out(row) for row in status.latest] or None,
            "selected": status.selected,
            "summary": status.summary,
            "lastHandledReconcileAt": status.handled_reconcile_at,
            "secretVersion": status.secret_version,
            "credentialsAcceptedBy": _endpoints_out(status.credentials_accepted_by),
            "actingAs": status.acting_as,
        }
    )


def read(raw: Mapping[str, Any] | None) -> Status:
    """Read what `write` wrote.

    A status that another client overwrote and that can't be read counts as never written: the
    next reconcile reads the memberships before it acts.
    """
    try:
        return _status_in(raw or {})
    except (AttributeError, KeyError, TypeError, ValueError):
        return Status()


def _status_in(raw: Mapping[str, Any]) -> Status:
    job, unanswered = raw.get("job"), raw.get("unanswered")
    return Status(
        observed_generation=int(raw.get("observedGeneration", -1)),
        conditions=tuple(_condition_in(row) for row in raw.get("conditions", ())),
        job=None if job is None else _job_in(job),
        unanswered=None if unanswered is None else _unanswered_in(unanswered),
        images=tuple(_image_in(row) for row in raw.get("images", ())),
        latest=tuple(_latest_in(row) for row in raw.get("latest", ())),
        selected=raw.get("selected"),
        summary=_shared(raw.get("summary")),
        handled_reconcile_at=raw.get("lastHandledReconcileAt"),
        secret_version=raw.get("secretVersion"),
        credentials_accepted_by=_endpoints_in(raw.get("credentialsAcceptedBy")),
        acting_as=_shared(raw.get("actingAs")),
    )


def _condition_out(condition: Condition) -> Json:
    return {
        "type": condition.type.value,
        "status": condition.status,
        "reason": condition.reason.value,
        "message": condition.message,
        "observedGeneration": condition.observed_generation,
        "lastTransitionTime": _time_out(condition.last_transition_time),
    }


def _condition_in(raw: Mapping[str, Any]) -> Condition:
    return Condition(
        type=ConditionType(raw["type"]),
        status=raw["status"],
        reason=Reason(raw["reason"]),
        message=intern(raw["message"]),
        observed_generation=int(raw["observedGeneration"]),
        last_transition_time=_time_in(raw["lastTransitionTime"]),
    )


def _job_out(job: Job) -> Json:
    return _present(
        {
            "id": job.id,
            "generation": job.generation,
            "decision": job.decision.value,
            "type": job.type,
            "status": job.state.value,
            "submittedAt": _millis_out(job.submitted_at),
            "beginTime": job.begin_time,
            "endTime": job.end_time,
            "errorCode": job.error_code,
            "failReason": job.fail_reason,
        }
    )


def _job_in(raw: Mapping[str, Any]) -> Job:
    return Job(
        id=intern(raw["id"]),
        generation=int(raw["generation"]),
        decision=Decision(raw["decision"]),
        type=_shared(raw.get("type")),
        state=JobState(raw["status"]),
        submitted_at=_time_in(raw["submittedAt"]),
        begin_time=raw.get("beginTime"),
        end_time=raw.get("endTime"),
        error_code=raw.get("errorCode"),
        fail_reason=raw.get("failReason"),
    )


def _unanswered_out(batch: InDoubtBatch) -> Json:
    return {
        "decision": batch.decision.value,
        "images": list(batch.images),
        "since": _millis_out(batch.since),
        "until": _millis_out(batch.until),
    }


def _unanswered_in(raw: Mapping[str, Any]) -> InDoubtBatch:
    return InDoubtBatch(
        decision=Decision(raw["decision"]),
        images=tuple(raw["images"]),
        since=_time_in(raw["since"]),
        until=_time_in(raw["until"]),
    )


def _image_out(image: ImageStatus) -> Json:
    return _present(
        {
            "id": image.id,
            "membership": image.membership.value,
            "jobID": image.job_id,
            "message": image.message,
            "name": image.name,
            "owner": image.owner,
            "createdAt": None if image.created_at is None else _time_out(image.created_at),
            "selection": None if image.selection is None else image.selection.value,
        }
    )


def _image_in(raw: Mapping[str, Any]) -> ImageStatus:
    created_at, selection = raw.get("createdAt"), raw.get("selection")
    return ImageStatus(
        id=intern(raw["id"]),
        membership=Membership(raw["membership"]),
        job_id=_shared(raw.get("jobID")),
        message=_shared(raw.get("message")),
        name=_shared(raw.get("name")),
        owner=_shared(raw.get("owner")),
        created_at=None if created_at is None else _time_in(created_at),
        selection=None if selection is None else SelectionVerdict(selection),
    )


def _latest_out(image: LatestImage) -> Json:
    return _present(
        {
            "group": image.group,
            "id": image.id,
            "name": image.name,
            "owner": image.owner,
            "createdAt": None if image.created_at is None else _time_out(image.created_at),
            "since": _time_out(image.since),
            "previousID": image.previous_id,
        }
    )


def _latest_in(raw: Mapping[str, Any]) -> LatestImage:
    created_at = raw.get("createdAt")
    return LatestImage(
        group=intern(raw["group"]),
        id=intern(raw["id"]),
        name=_shared(raw.get("name")),
        owner=intern(raw["owner"]),
        created_at=None if created_at is None else _time_in(created_at),
        since=_time_in(raw["since"]),
        previous_id=raw.get("previousID"),
    )


def _endpoints_out(endpoints: Cloud | None) -> Json | None:
    match endpoints:
        case Endpoints():
            return {"iam": endpoints.iam, "ims": endpoints.ims}
        case OpenStack():
            return _present(
                {
                    "authURL": endpoints.auth_url,
                    "region": endpoints.region,
                    "interface": endpoints.interface.value,
                    "imageEndpoint": endpoints.image_endpoint,
                }
            )
        case None:
            return None


def _endpoints_in(raw: Mapping[str, Any] | None) -> Cloud | None:
    if raw is None:
        return None
    if "authURL" in raw:
        return OpenStack(
            auth_url=intern(raw["authURL"]),
            region=_shared(raw.get("region")),
            interface=Interface(raw["interface"]),
            image_endpoint=_shared(raw.get("imageEndpoint")),
        )
    endpoints = Endpoints(iam=intern(raw["iam"]), ims=intern(raw["ims"]))
    return next((known for known in REGIONS.values() if known == endpoints), endpoints)


def _shared(text: str | None) -> str | None:
    """The interned text: thousands of statuses have the same."""
    return None if text is None else intern(text)


def _present(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _time_out(time: datetime) -> str:
    return zulu(time, "seconds")


def _millis_out(time: datetime) -> str:
    """With milliseconds, like the times of the cloud beside it."""
    return zulu(time, "milliseconds")


def _time_in(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
