"""Converts a login that IAM refused to the error that says what to do about it. No I/O."""

from http import HTTPStatus

from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal


def login_error(refusal: Refusal) -> CloudError:
    """The error for a login. The message has the code and never the text."""
    what = f"IAM login: HTTP {refusal.status}" + (f" {refusal.code}" if refusal.code else "")
    if refusal.status < HTTPStatus.BAD_REQUEST:
        return RetryableError(f"{what}: not a login response of IAM; check spec.endpoints.iam")
    kind = refusal.kind
    if kind is RefusalKind.THROTTLED:
        return ThrottledError(what, retry_after=refusal.retry_after)
    if kind is RefusalKind.RETRY:
        return RetryableError(f"{refusal.endpoint}: {what}", retry_after=refusal.retry_after)
    if kind is RefusalKind.LOCKED:
        message = f"{what}: the account is locked after failed logins; correct the Secret"
        return TerminalError(message, reason=Reason.ACCOUNT_LOCKED)
    if not refusal.is_from_api and refusal.status != HTTPStatus.UNAUTHORIZED:
        remedy = "the response is not from IAM; check spec.endpoints.iam and any proxy or firewall"
        message = f"{what}: {remedy}"
        return TerminalError(message, reason=Reason.INVALID_REQUEST)
    if kind is RefusalKind.DENIED:
        message = f"{what}: the user has no access to the API; enable programmatic access in IAM"
        return TerminalError(message, reason=Reason.PERMISSION_DENIED)
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        message = f"{what}: user, password, domain or spec.projectID is wrong; correct the Secret"
        return TerminalError(message, reason=Reason.CREDENTIALS_INVALID)
    message = f"{what}: no such project for this user; correct spec.projectID or the Secret"
    return TerminalError(message, reason=Reason.INVALID_REQUEST)
