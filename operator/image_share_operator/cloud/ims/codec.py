"""Builds requests to IMS and parses its responses. No I/O.

Only this module knows the fields of IMS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from typing import cast

import httpx

from image_share_operator.api.errors import OutcomeUnknownError, RetryableError
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import Decision, ImageDetails, JobState, Membership, Share
from image_share_operator.cloud.http.payload import (
    MAX_WORD_CHARS,
    Json,
    dig,
    dig_line,
    dig_text,
    name_line,
    one_line,
    parse_body,
    request_line,
)


def update_members_body(
    project_id: str, decision: Decision, vault_id: str | None, images: tuple[str, ...]
) -> Json:
    """The body of a request that sets the membership of all ``images``.

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
"""A job ID, which becomes part of a URL path and the status. Documented: 32 hexadecimal digits."""


def read_job_id(response: httpx.Response) -> str:
    """Read the job ID from the response to a batch that was accepted.

    Raises:
        OutcomeUnknownError: there is no job ID, but the batch may have taken effect.
    """
    job_id = dig_text(parse_body(response), "job_id")
    if job_id is None or not _JOB_ID.fullmatch(job_id):
        raise OutcomeUnknownError(
            f"{request_line(response)}: the response has no job ID; check "
            "spec.endpoints.ims and any proxy or firewall"
        )
    return job_id


def read_job(response: httpx.Response) -> JobReport:
    """Read a job of one of the two job endpoints. An unknown state counts as running.

    Raises:
        RetryableError: the response is not a job.
    """
    body = parse_body(response)
    word = dig_text(body, "status")
    if word is None:
        raise RetryableError(f"{request_line(response)}: the response has no job status")
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
    """The images that a settled job reports as failed, with a message for each.

    The case is ignored: the samples of the API reference have ``success``, its table ``SUCCESS``.
    """
    if state is None or not state.settled or not isinstance(results, list):
        return {}
    failed: dict[str, str] = {}
    for row in cast("list[object]", results):
        image, word = dig_text(row, "image_id"), dig_text(row, "status")
        if image is not None and word is not None and word.upper() != "SUCCESS":
            failed[image] = f"the job reports status {one_line(word)!r} for this image"
    return failed


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePage:
    """One page of a list of shares.

    Attributes:
        images: IDs of images that other projects share with the project.
        raw: what IMS returned of each image, for `read_details`: few of them are needed.
        rows: length of the page, with rows that are left out.
        marker: ID of the last image, which the next page starts after; ``None`` without images.
        has_next: whether the response has a link to a next page.
    """

    images: tuple[str, ...]
    rows: int
    marker: str | None
    has_next: bool = False
    raw: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)


def read_shares(response: httpx.Response, project_id: str, limit: int) -> SharePage:
    """Read one page of a list; rows that are not valid are left out.

    Images that the project owns and shares are left out, too: it is not a member of them.

    Raises:
        RetryableError: the response is not a list of images.
    """
    body = parse_body(response)
    rows: object = [] if "images" in body and body["images"] is None else body.get("images")
    if not isinstance(rows, list):
        raise RetryableError(f"{request_line(response)}: the response has no list of images")
    listed = cast("list[object]", rows)
    if len(listed) > limit:
        raise RetryableError(
            f"{request_line(response)}: the response has {len(listed)} images, the limit is {limit}"
        )
    known = [
        (image.lower(), dig_text(row, "owner"), row)
        for row in listed
        if (image := dig_text(row, "id")) is not None and len(image) <= MAX_WORD_CHARS
    ]
    return SharePage(
        images=tuple(image for image, owner, _ in known if owner != project_id),
        rows=len(listed),
        marker=known[-1][0] if known else None,
        has_next=dig_text(body, "next") is not None,
        raw={image: row for image, _, row in known},
    )


def read_details(row: object) -> ImageDetails:
    """Read name and owner of an image from a row of a list."""
    name = dig_text(row, "name")
    return ImageDetails(
        name=None if name is None else name_line(name), owner=dig_line(row, "owner")
    )


def read_share(row: object, image: str, membership: Membership) -> Share:
    """Read an image from a row of a list with this membership; unknown values are ``None``.

    Args:
        image: its canonical ID, from `SharePage.images`.
    """
    name = dig_text(row, "name")
    return Share(
        id=intern(image),
        membership=membership,
        owner=intern(dig_line(row, "owner") or ""),
        name=None if name is None else intern(name_line(name)),
        created_at=_time_of(dig_text(row, "created_at")),
        status=_word_of(row, "status"),
        os_type=_word_of(row, "__os_type") or _os_type_of(row),
        full_server=(dig_text(row, "__whole_image") or "").lower() == "true",
    )


def _os_type_of(row: object) -> str | None:
    """``os_type`` of Glance, which has ``linux`` for ``Linux`` of IMS."""
    word = dig_line(row, "os_type")
    return None if word is None else intern(word.capitalize())


def _word_of(row: object, key: str) -> str | None:
    """A word that many rows share."""
    word = dig_line(row, key)
    return None if word is None else intern(word)


def _time_of(text: str | None) -> datetime | None:
    """A time such as ``2026-01-31T12:00:00Z``; ``None`` for anything else."""
    if text is None or len(text) > MAX_WORD_CHARS:
        return None
    try:
        time = datetime.fromisoformat(text)
        aware = time if time.tzinfo else time.replace(tzinfo=UTC)
        return aware.astimezone(UTC).replace(microsecond=0)  # the precision of the status
    except (ValueError, OverflowError):
        return None


def read_member(
    response: httpx.Response, image: str, project_id: str, *, setting: str = "spec.endpoints.ims"
) -> Membership:
    """Read the membership from a response that was not refused.

    Args:
        setting: that has the URL, for messages.

    Raises:
        RetryableError: the response is not a member, or that of another image or project.
    """
    body = parse_body(response)
    for key, wanted in (("image_id", image), ("member_id", project_id)):
        found = dig_line(body, key)
        if found is not None and found.lower() != wanted:
            raise RetryableError(
                f"{request_line(response)}: the response is for {key} {found}; check "
                f"{setting} and any proxy"
            )
    word = body.get("status")
    if word is None:
        raise RetryableError(
            f"{request_line(response)}: HTTP {response.status_code} without a member status; check "
            f"{setting} and any proxy or firewall"
        )
    if word not in (Membership.PENDING, Membership.ACCEPTED, Membership.REJECTED):
        raise RetryableError(
            f"{request_line(response)}: unknown member status {one_line(str(word))!r}"
        )
    return Membership(word)
