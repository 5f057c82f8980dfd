"""Converts a login or a signature that was refused to the error that says what to do. No I/O."""

import re
from datetime import timedelta
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


MAX_SKEW = timedelta(minutes=15)
"""Difference of the clocks above which the cloud refuses a signature."""
SKEW_TOLERANCE = timedelta(seconds=30)
"""How much later than the check of the signature the ``Date`` of the response may be."""
SKEW_RETRY = timedelta(minutes=5)
"""How often a request is tried while the clocks differ: three times in the 15 minutes in which five
refused requests may lock the access key."""
_KEY_LOCKED = re.compile(r"reach the limit|\blocked\b", re.IGNORECASE)
_KEY_HINTS = {
    "IAM.1104": "IAM blocks the access key; unblock it, or put another one into the Secret",
    "IAM.1105": "the access key has expired; put another one into the Secret",
    "IAM.1106": "the user of the access key does not exist; correct the Secret",
    "IAM.1107": "the access key is inactive; enable it in IAM, or put another one into the Secret",
    "IAM.1108": "the temporary access key has expired; put a new one into the Secret",
}
_KEY_STATES = {
    (False, False): "accessKey or secretKey is wrong; correct the Secret",
    (False, True): "the access key was deleted or disabled; put another one into the Secret",
    (True, False): "the temporary access key is wrong or has expired; put a new one into the "
    "Secret",
    (True, True): "the temporary access key has expired; put a new one into the Secret",
}
"""Whether the access key is temporary, whether it was accepted before, and what to do. The cloud
has one code for a wrong key and for an expired one."""
_MINUTE = timedelta(minutes=1)


def signature_error(
    refusal: Refusal, *, skew: timedelta, temporary: bool, accepted_before: bool
) -> CloudError:
    """The error for a signature that was refused. The message has the code and never the text.

    Args:
        skew: how far the clock of the cloud is ahead of ours; negative when it is behind.
        temporary: whether the access key is a temporary one.
        accepted_before: whether the cloud accepted this access key since the start.
    """
    code = f" {refusal.code}" if refusal.code else ""
    what = f"{refusal.endpoint} refused the signature of a request: HTTP {refusal.status}{code}"
    if abs(skew) > MAX_SKEW - SKEW_TOLERANCE:
        side = "behind" if skew > timedelta() else "ahead of"
        return RetryableError(
            f"{what}: the clock of the operator is about {round(abs(skew) / _MINUTE)} minutes "
            f"{side} that of the cloud, and up to 15 are accepted; synchronize the clock of the "
            "node",
            retry_after=SKEW_RETRY,
        )
    if refusal.kind is RefusalKind.LOCKED or _KEY_LOCKED.search(refusal.text or ""):
        remedy = "the access key is locked after refused requests; correct the Secret"
        return TerminalError(f"{what}: {remedy}", reason=Reason.ACCOUNT_LOCKED)
    remedy = _KEY_HINTS.get(refusal.code or "") or _KEY_STATES[temporary, accepted_before]
    if not refusal.is_from_api:
        remedy = f"{remedy}, or check whether a proxy rejects the request"
    return TerminalError(f"{what}: {remedy}", reason=Reason.CREDENTIALS_INVALID)


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
