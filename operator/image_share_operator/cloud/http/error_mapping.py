"""Converts a refused request to the error that says what to do about it. No I/O."""

from datetime import timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from image_share_operator.api.errors import (
    BatchTooLargeError,
    CloudError,
    ImagesRefusedError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of, kind_of_batch
from image_share_operator.cloud.http.payload import MAX_WORD_CHARS, error_of, one_line, request_line

MAX_RETRY_AFTER = timedelta(hours=1)
"""The longest ``Retry-After`` that is obeyed: a wrong value must not stop a resource for days."""


def refusal(response: httpx.Response) -> CloudError:
    """Convert a request that IMS refused to an error."""
    code, _ = error_of(response)
    return _refusal(response, kind_of(response.status_code, code))


def batch_refusal(response: httpx.Response) -> CloudError:
    """Convert a batch that IMS refused to an error: one of its images may be the cause."""
    code, _ = error_of(response)
    kind = kind_of_batch(response.status_code, code)
    error = _refusal(response, kind)
    if kind is RefusalKind.RETRY:
        return RefusedForNowError(str(error), retry_after=retry_after(response))
    return error


def _refusal(response: httpx.Response, kind: RefusalKind) -> CloudError:
    code, text = error_of(response)
    shown = " ".join(filter(None, (code, _without_token(text, response)))).rstrip(".")
    what = f"{request_line(response)}: HTTP {response.status_code}" + (f" {shown}" if shown else "")
    match kind:
        case RefusalKind.THROTTLED:
            return ThrottledError(what, retry_after=retry_after(response))
        case RefusalKind.RETRY:
            return RetryableError(what, retry_after=retry_after(response))
        case RefusalKind.IMAGES:
            return ImagesRefusedError(what)
        case RefusalKind.TOO_LARGE:
            return BatchTooLargeError(what)
        case RefusalKind.DENIED | RefusalKind.LOCKED:
            return TerminalError(
                f"{what}: the user lacks a permission; grant it in IAM",
                reason=Reason.PERMISSION_DENIED,
            )
        case RefusalKind.TOKEN:
            return TerminalError(
                f"{what}: IMS refused the token; correct the Secret",
                reason=Reason.CREDENTIALS_INVALID,
            )
        case RefusalKind.MISMATCH:
            return TerminalError(
                f"{what}: the token is not for spec.projectID; correct it or the Secret",
                reason=Reason.INVALID_REQUEST,
            )
        case RefusalKind.INVALID:
            return TerminalError(
                f"{what}: IMS refused the request; correct the spec",
                reason=Reason.INVALID_REQUEST,
            )


def login_refusal(response: httpx.Response) -> CloudError:
    """Convert a login that IAM refused to an error.

    The message has the code and never the text: IAM may repeat parts of the request, which has the
    password.
    """
    code, _ = error_of(response)
    status = response.status_code
    what = f"IAM login: HTTP {status}" + (f" {code}" if code else "")
    if status < HTTPStatus.BAD_REQUEST:
        return RetryableError(f"{what}: not a login response of IAM; check spec.endpoints.iam")
    kind = kind_of(status, code)
    if kind is RefusalKind.THROTTLED:
        return ThrottledError(what, retry_after=retry_after(response))
    if kind is RefusalKind.RETRY:
        return RetryableError(what, retry_after=retry_after(response))
    if kind is RefusalKind.LOCKED:
        message = f"{what}: the account is locked after failed logins; correct the Secret"
        return TerminalError(message, reason=Reason.ACCOUNT_LOCKED)
    if kind is RefusalKind.DENIED:
        message = f"{what}: the user has no access to the API; enable programmatic access in IAM"
        return TerminalError(message, reason=Reason.PERMISSION_DENIED)
    if status == HTTPStatus.UNAUTHORIZED:
        message = f"{what}: user, password, domain or spec.projectID is wrong; correct the Secret"
        return TerminalError(message, reason=Reason.CREDENTIALS_INVALID)
    message = f"{what}: no such project for this user; correct spec.projectID or the Secret"
    return TerminalError(message, reason=Reason.INVALID_REQUEST)


def token_refused(response: httpx.Response) -> bool:
    """Whether a new token may help: the cloud has many codes for an expired one."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return False
    code, _ = error_of(response)
    return kind_of(response.status_code, code) in (RefusalKind.TOKEN, RefusalKind.MISMATCH)


def throttled(response: httpx.Response) -> bool:
    """Whether the cloud asks for fewer requests."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return False
    code, _ = error_of(response)
    return kind_of(response.status_code, code) is RefusalKind.THROTTLED


def retry_after(response: httpx.Response) -> timedelta | None:
    """The wait of ``Retry-After``, in seconds or as an HTTP date; ``None`` without a valid one.

    A date is relative to the ``Date`` of the same response: the clocks may differ.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


def invalid_url(text: str) -> TerminalError:
    """The error for a URL that httpx does not accept, although the CRD does."""
    shown = one_line(text.partition("?")[0][:MAX_WORD_CHARS])
    return TerminalError(
        f"spec.endpoints: {shown} is not a valid URL; correct it", reason=Reason.INVALID_REQUEST
    )


def _without_token(text: str | None, response: httpx.Response) -> str | None:
    token = response.request.headers.get("X-Auth-Token")
    return text.replace(token, "(token)") if text and token else text
