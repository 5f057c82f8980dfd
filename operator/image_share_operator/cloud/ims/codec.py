"""IMS: requests as data, responses to types. No I/O.

Requests to IMS and its successful responses are encoded and decoded here and nowhere else;
refusals are in `error_mapping.py`.
"""

import re
from dataclasses import dataclass
from typing import cast

import httpx

from image_share_operator.api.errors import OutcomeUnknownError, RetryableError
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import Decision, JobState, Membership
from image_share_operator.cloud.http.payload import (
    MAX_WORD,
    Json,
    asked,
    dig,
    dig_line,
    dig_text,
    one_line,
    parse_body,
)


def update_members_body(
    project_id: str, decision: Decision, vault_id: str | None, images: tuple[str, ...]
) -> Json:
    """Set the membership of all ``images``.

    Source: IMS API reference, "Updating the Member Status of Images in Batches".
    """
    body: Json = {
        "images": list(images),
        "project_id": project_id,
        "status": decision.wanted.value,
    }
    if vault_id is not None and decision is Decision.ACCEPT:
        body["vault_id"] = vault_id
    return body


_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
"""Documented are 32 hexadecimal digits. It becomes part of a path and of the status."""


def read_job_id(response: httpx.Response) -> str:
    """Read the answer to a batch that was not refused.

    Raises:
        OutcomeUnknownError: there is no job id: the batch may be under way all the same.
    """
    job_id = dig_text(parse_body(response), "job_id")
    if job_id is None or not _JOB_ID.fullmatch(job_id):
        raise OutcomeUnknownError(f"{asked(response)} answered without a job id")
    return job_id


def read_job(response: httpx.Response) -> JobReport:
    """Read a job of either job endpoint. A state that is not known counts as running.

    Raises:
        RetryableError: the answer is not a job.
    """
    body = parse_body(response)
    word = dig_text(body, "status")
    if word is None:
        raise RetryableError(f"{asked(response)} answered without a job status")
    state = _STATES.get(word.upper())
    return JobReport(
        state=state or JobState.RUNNING,
        odd_status=None if state else one_line(word),
        type=dig_line(body, "job_type"),
        begin_time=dig_line(body, "begin_time"),
        end_time=dig_line(body, "end_time"),
        error_code=dig_line(body, "error_code"),
        fail_reason=dig_line(body, "fail_reason"),
        failed_rows=_failed_rows(dig(body, "entities", "results"), state),
    )


_STATES = {state.value: state for state in JobState} | {"FAILED": JobState.FAIL}


def _failed_rows(results: object, state: JobState | None) -> dict[str, str]:
    """Images that a settled job names as failed.

    Compared without regard to case: the samples say ``success``, the field table ``SUCCESS``.
    """
    if state is None or not state.settled or not isinstance(results, list):
        return {}
    failed: dict[str, str] = {}
    for row in cast("list[object]", results):
        image, word = dig_text(row, "image_id"), dig_text(row, "status")
        if image is not None and word is not None and word.upper() != "SUCCESS":
            failed[image] = f"the job says {one_line(word)!r} of this image"
    return failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePage:
    """One page of a list of shares.

    Attributes:
        images: that others share with the project.
        marker: to go on after; ``None`` on the last page.
    """

    images: tuple[str, ...]
    marker: str | None


def read_shares(response: httpx.Response, project_id: str, limit: int) -> SharePage:
    """Read one page of a list; rows that can't be read are left out.

    The project's own images are in it when it shares them with others: there is no membership of
    the project in those.

    Raises:
        RetryableError: the answer is not a list of images.
    """
    body = parse_body(response)
    rows: object = [] if "images" in body and body["images"] is None else body.get("images")
    if not isinstance(rows, list):
        raise RetryableError(f"{asked(response)} answered without images")
    listed = cast("list[object]", rows)
    if len(listed) > limit:
        raise RetryableError(
            f"{asked(response)} answered with {len(listed)} images, {limit} were asked for"
        )
    known = [
        (image.lower(), dig_text(row, "owner"))
        for row in listed
        if (image := dig_text(row, "id")) is not None and len(image) <= MAX_WORD
    ]
    return SharePage(
        images=tuple(image for image, owner in known if owner != project_id),
        marker=known[-1][0] if len(known) >= limit else None,
    )


def read_member(response: httpx.Response) -> Membership:
    """Read a member that was not refused.

    Raises:
        RetryableError: the answer is not a member.
    """
    word = parse_body(response).get("status")
    if word not in (Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED):
        raise RetryableError(
            f"{asked(response)} answered with member status {one_line(str(word))!r}"
        )
    return Membership(word)
