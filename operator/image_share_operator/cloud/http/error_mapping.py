"""What a refusal asks for: each becomes the error that says what to do about it. No I/O."""

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
from image_share_operator.cloud.http.payload import MAX_WORD, asked, error_of, one_line

MAX_RETRY_AFTER = timedelta(hours=1)
"""No cloud is trusted to keep a resource quiet for longer."""


def refusal(response: httpx.Response) -> CloudError:
    """Turn a refusal of IMS into the error that says what to do about it."""
    code, _ = error_of(response)
    return _refusal(response, kind_of(response.status_code, code))


def batch_refusal(response: httpx.Response) -> CloudError:
    """As `refusal`, of a batch of images: one of them may be why."""
    code, _ = error_of(response)
    kind = kind_of_batch(response.status_code, code)
    found = _refusal(response, kind)
    if kind is RefusalKind.RETRY:
        return RefusedForNowError(str(found), retry_after=retry_after(response))
    return found


def _refusal(response: httpx.Response, kind: RefusalKind) -> CloudError:
    code, text = error_of(response)
    shown = " ".join(filter(None, (code, _without_token(text, response))))
    what = f"{asked(response)}: HTTP {response.status_code}" + (f" {shown}" if shown else "")
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
            return TerminalError(what, reason=Reason.PERMISSION_DENIED)
        case RefusalKind.TOKEN:
            return TerminalError(
                f"{what}: the cloud refuses the token", reason=Reason.CREDENTIALS_INVALID
            )
        case RefusalKind.MISMATCH:
            return TerminalError(
                f"{what}: the token is not for spec.projectID", reason=Reason.INVALID_REQUEST
            )
        case RefusalKind.INVALID:
            return TerminalError(what, reason=Reason.INVALID_REQUEST)


def login_refusal(response: httpx.Response) -> CloudError:
    """Turn a refused login into an error.

    Only the code is shown: bodies of IAM are near to secrets.
    """
    code, _ = error_of(response)
    status = response.status_code
    what = f"IAM login: HTTP {status}" + (f" {code}" if code else "")
    if status < HTTPStatus.BAD_REQUEST:
        return RetryableError(f"{what}: not the answer of an IAM login")
    kind = kind_of(status, code)
    if kind is RefusalKind.THROTTLED:
        return ThrottledError(what, retry_after=retry_after(response))
    if kind is RefusalKind.RETRY:
        return RetryableError(what, retry_after=retry_after(response))
    if kind is RefusalKind.LOCKED:
        message = f"{what}: the account is locked after failed logins; correct the Secret"
        return TerminalError(message, reason=Reason.ACCOUNT_LOCKED)
    if kind is RefusalKind.DENIED:
        message = f"{what}: the user may not log in by API; ask for programmatic access"
        return TerminalError(message, reason=Reason.PERMISSION_DENIED)
    if status == HTTPStatus.UNAUTHORIZED:
        message = f"{what}: user, password, domain or spec.projectID is wrong; correct the Secret"
        return TerminalError(message, reason=Reason.CREDENTIALS_INVALID)
    message = f"{what}: no such project for this user; correct spec.projectID or the Secret"
    return TerminalError(message, reason=Reason.INVALID_REQUEST)


def token_refused(response: httpx.Response) -> bool:
    """Whether a new token may help: one of the many ways in which a stale one is refused."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return False
    code, _ = error_of(response)
    return kind_of(response.status_code, code) in (RefusalKind.TOKEN, RefusalKind.MISMATCH)


def throttled(response: httpx.Response) -> bool:
    """Whether the cloud asks for fewer calls."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return False
    code, _ = error_of(response)
    return kind_of(response.status_code, code) is RefusalKind.THROTTLED


def retry_after(response: httpx.Response) -> timedelta | None:
    """The wait that the cloud asks for: seconds or an HTTP date; ``None`` when it does not.

    A date counts from the ``Date`` of the same response: the cloud's clock may differ from ours.
    """
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(response.headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


def no_url(text: str) -> TerminalError:
    """What the client does not take for a URL, or can't connect to as one."""
    shown = one_line(text.partition("?")[0][:MAX_WORD])
    return TerminalError(
        f"spec.endpoints: {shown} can't be used as a URL", reason=Reason.INVALID_REQUEST
    )


def _without_token(text: str | None, response: httpx.Response) -> str | None:
    token = response.request.headers.get("X-Auth-Token")
    return text.replace(token, "(token)") if text and token else text
