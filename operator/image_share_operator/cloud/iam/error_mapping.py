"""Converts a login that IAM refused to the error that says what to do about it. No I/O."""

import re
from http import HTTPStatus

from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.payload import one_line
from image_share_operator.cloud.http.refusal import Refusal

LOCKED = re.compile(r"\b(account|user)\b.*\blocked\b", re.IGNORECASE)
_HINTS = tuple(
    (re.compile(pattern, re.IGNORECASE), hint)
    for pattern, hint in (
        (
            r"\bmfa\b|\btotp\b|multi-?factor|\breceipt\b",
            "the user needs multi-factor authentication (MFA); use a technical user without MFA",
        ),
        (
            r"password.*(expired|needs? to be changed|must be changed)",
            "the password has expired; change it in IAM, then correct the Secret",
        ),
        (
            r"programmatic|access mode|console",
            "the user has no access to the API; enable programmatic access in IAM",
        ),
        (
            r"\bdisabled\b|not enabled",
            "the user, its account or the project is disabled; enable it in IAM",
        ),
        (
            r"no access to (the )?project|not find (the )?project|project.*(not found|not exist)",
            "the user has no role in the project; correct spec.projectID or grant a role in IAM",
        ),
    )
)
"""Texts of IAM and Keystone, and what to do. Only these hints are shown, never the text of IAM."""


def login_error(refusal: Refusal, user: str) -> CloudError:
    """The error for a login. The message has the code and never the text.

    Args:
        user: the name or ID of the user.
    """
    request = f"IAM login of user {one_line(user)}"
    code = f" {refusal.code}" if refusal.code else ""
    what = f"{request}: HTTP {refusal.status}{code}"
    if refusal.status < HTTPStatus.BAD_REQUEST:
        return RetryableError(f"{what}: not a login response of IAM; check spec.endpoints.iam")
    if refusal.kind in (RefusalKind.THROTTLED, RefusalKind.RETRY):
        error = ThrottledError if refusal.kind is RefusalKind.THROTTLED else RetryableError
        return error(
            f"{refusal.cause}{code} ({request})",
            retry_after=refusal.retry_after,
            cause=refusal.cause,
        )
    reason, remedy = _permanent(refusal)
    return TerminalError(f"{what}: {remedy}", reason=reason)


def _permanent(refusal: Refusal) -> tuple[Reason, str]:
    """Reason and remedy of an error that a retry does not correct."""
    text = refusal.text or ""
    if refusal.kind is RefusalKind.LOCKED or LOCKED.search(text):
        remedy = "the account is locked after failed logins; correct the Secret"
        return Reason.ACCOUNT_LOCKED, remedy
    hint = next((hint for pattern, hint in _HINTS if pattern.search(text)), None)
    if not refusal.is_from_api and refusal.status != HTTPStatus.UNAUTHORIZED:
        remedy = "the response is not from IAM; check spec.endpoints.iam and any proxy or firewall"
        return Reason.INVALID_REQUEST, remedy
    if refusal.kind is RefusalKind.DENIED:
        remedy = "the user has no access to the API; enable programmatic access in IAM"
        return Reason.PERMISSION_DENIED, hint or remedy
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        remedy = "user, password, domain or spec.projectID is wrong; correct the Secret"
        if not refusal.is_from_api:
            remedy = f"{remedy}, or check whether a proxy rejects the request"
        return Reason.CREDENTIALS_INVALID, hint or remedy
    remedy = "no such project for this user; correct spec.projectID or the Secret"
    return Reason.INVALID_REQUEST, hint or remedy
