"""Converts a request that IMS refused to the error that says what to do about it. No I/O."""

from http import HTTPStatus

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    JobUnknownError,
    OutcomeUnknownError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of_batch
from image_share_operator.cloud.http.refusal import Refusal

NO_SUCH_JOB = frozenset({"IMG.0023", "IMG.0030"})
"""Codes that a job query returns for an unknown job. Elsewhere they have another meaning."""


def to_error(refusal: Refusal) -> CloudError:
    """The error for any request but a batch."""
    return _error(refusal, refusal.kind)


def batch_error(refusal: Refusal) -> CloudError:
    """The error for a batch. One of its images may be the cause only if IMS itself refused it."""
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return OutcomeUnknownError(
            refusal.cause_and_details,
            retry_after=refusal.retry_after,
            cause=refusal.cause,
            answered=True,
        )
    if not refusal.is_from_api:
        is_image = refusal.kind is RefusalKind.IMAGES
        return _error(refusal, RefusalKind.INVALID if is_image else refusal.kind)
    kind = kind_of_batch(refusal.status, refusal.code)
    if kind is RefusalKind.RETRY:
        return _retryable(RefusedForNowError, refusal)
    return _error(refusal, kind)


def job_error(refusal: Refusal) -> CloudError:
    """The error for a query of a job."""
    return JobUnknownError(str(refusal)) if is_unknown_job(refusal) else to_error(refusal)


def member_error(refusal: Refusal) -> CloudError:
    """The error for the read of one membership.

    Glance returns 403 for an image that is not shared, such as a public one: then other images can
    be read, and no permission is missing.
    """
    if refusal.kind is not RefusalKind.DENIED:
        return to_error(refusal)
    remedy = _NO_MEMBERSHIP if refusal.is_from_api else _NO_MEMBERSHIP_OF_OTHER_SERVER
    return TerminalError(f"{refusal}: {remedy}", reason=Reason.PERMISSION_DENIED)


def is_unknown_job(refusal: Refusal) -> bool:
    """Whether the endpoint does not know the job. The API reference has no code for this.

    The job ID is the only input, so a status 400 is about the job ID.
    """
    if refusal.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return False
    about_id = refusal.kind in (RefusalKind.IMAGES, RefusalKind.INVALID)
    return about_id or refusal.code in NO_SUCH_JOB


def _error(refusal: Refusal, kind: RefusalKind) -> CloudError:
    match kind:
        case RefusalKind.THROTTLED:
            return _retryable(ThrottledError, refusal)
        case RefusalKind.RETRY:
            return _retryable(RetryableError, refusal)
        case RefusalKind.IMAGES:
            return ImagesRefusedError(str(refusal))
        case RefusalKind.TOO_LARGE:
            return BatchTooLargeError(str(refusal))
        case RefusalKind.TOKEN if refusal.token_is_new:
            return TerminalError(
                f"{refusal}: {_REFUSED_AFTER_LOGIN}", reason=Reason.CREDENTIALS_INVALID
            )
        case _:
            reason, remedy, remedy_of_other_server = _REMEDIES[kind]
            if not refusal.is_from_api:
                remedy = remedy_of_other_server
            return TerminalError(f"{refusal}: {remedy}", reason=reason)


def _retryable(error: type[RetryableError], refusal: Refusal) -> RetryableError:
    return error(refusal.cause_and_details, retry_after=refusal.retry_after, cause=refusal.cause)


_NO_MEMBERSHIP = (
    "the user lacks a permission, or the image is not a shared one; grant it in IAM, or correct "
    "the image ID"
)
_NO_MEMBERSHIP_OF_OTHER_SERVER = (
    "the user lacks a permission in IAM, the image is not a shared one, or a proxy or firewall "
    "rejects the request"
)
# Not a transient error: services of this cloud return 401 for a missing permission, and for a token
# of another region.
_REFUSED_AFTER_LOGIN = (
    "IMS refuses a token that IAM has just issued; check that the user has the permissions for "
    "images, and that spec.region or spec.endpoints names IAM and IMS of one region"
)
_NO_PERMISSION = (
    Reason.PERMISSION_DENIED,
    "the user lacks a permission; grant it in IAM",
    "the user lacks a permission in IAM, or a proxy or firewall rejects the request",
)
_REMEDIES = {
    RefusalKind.DENIED: _NO_PERMISSION,
    RefusalKind.LOCKED: _NO_PERMISSION,
    RefusalKind.TOKEN: (
        Reason.CREDENTIALS_INVALID,
        "IMS refused the token; correct the Secret",
        "IMS refused the token; correct the Secret",
    ),
    RefusalKind.MISMATCH: (
        Reason.INVALID_REQUEST,
        "the credentials are not for spec.projectID; correct it or the Secret",
        "the credentials are not for spec.projectID; correct it or the Secret",
    ),
    RefusalKind.INVALID: (
        Reason.INVALID_REQUEST,
        "IMS refused the request; correct the spec",
        "the response is not from IMS; check spec.endpoints.ims and any proxy or firewall",
    ),
}
"""Reason and remedy of permanent errors; the second remedy is for a response without a JSON error
body, which another server may have sent."""
