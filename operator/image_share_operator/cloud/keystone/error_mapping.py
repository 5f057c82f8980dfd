"""Converts a login that Keystone refused to the error that says what to do about it. No I/O.

Keystone has the same text for a wrong password, a locked user, a disabled user and a user without a
role in the project: so the message names all of them. The text itself is never shown.
"""

import re
from http import HTTPStatus

from image_share_operator.api.credentials import (
    ApplicationCredentials,
    Credentials,
    PasswordCredentials,
)
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

_EXPIRED_PASSWORD = re.compile(r"password.*(expired|needs? to be changed)", re.IGNORECASE)
_MFA = re.compile(r"multi-?factor|\btotp\b|\breceipt\b", re.IGNORECASE)


def login_error(refusal: Refusal, credentials: Credentials) -> CloudError:
    """The error for a login. The message has the status and never the text."""
    what = f"Keystone login {_with(credentials)}: HTTP {refusal.status}"
    if refusal.status < HTTPStatus.BAD_REQUEST:
        message = f"{what}: not a login response of Keystone; check spec.openstack.authURL"
        return RetryableError(message)
    if refusal.kind is RefusalKind.THROTTLED:
        return ThrottledError(what, retry_after=refusal.retry_after)
    if refusal.kind is RefusalKind.RETRY:
        return RetryableError(f"{refusal.endpoint}: {what}", retry_after=refusal.retry_after)
    reason, remedy = _permanent(refusal, credentials)
    return TerminalError(f"{what}: {remedy}", reason=reason)


def other_project(credentials: Credentials, found: str | None, wanted: str) -> TerminalError:
    """The error for a token that is not for the project of the spec."""
    what = "the token of the Secret"
    if isinstance(credentials, ApplicationCredentials):
        what = f"application credential {one_line(credentials.id)}"
    fault = "has no project" if found is None else f"is for project {found}"
    return TerminalError(
        f"{what} {fault}, but spec.projectID is {wanted}; correct the Secret or spec.projectID",
        reason=Reason.CREDENTIALS_INVALID,
    )


def no_access_key() -> TerminalError:
    """The error for an access key of the Open Telekom Cloud."""
    return TerminalError(
        "an access key can't log in at Keystone; put an application credential or a user into the "
        "Secret",
        reason=Reason.CREDENTIALS_INVALID,
    )


def insecure(url: str) -> TerminalError:
    """The error for an image endpoint without TLS in the service catalog."""
    return TerminalError(
        f"the image endpoint {one_line(url)} of the service catalog is not https://, so the token "
        "would be readable on the network; set spec.openstack.imageEndpoint",
        reason=Reason.INVALID_REQUEST,
    )


def _with(credentials: Credentials) -> str:
    match credentials:
        case PasswordCredentials():
            return f"of user {one_line(credentials.user)}"
        case ApplicationCredentials():
            return f"with application credential {one_line(credentials.id)}"
        case _:
            return "with the token of the Secret"


def _permanent(refusal: Refusal, credentials: Credentials) -> tuple[Reason, str]:
    """Reason and remedy of an error that a retry does not correct."""
    text = refusal.text or ""
    is_unknown = refusal.status == HTTPStatus.NOT_FOUND and refusal.is_from_api
    if refusal.status == HTTPStatus.UNAUTHORIZED or is_unknown:
        remedy = _hint(text) or _refused(credentials, is_unknown=is_unknown)
        if not refusal.is_from_api:
            remedy = f"{remedy}, or check whether a proxy rejects the request"
        return Reason.CREDENTIALS_INVALID, remedy
    if not refusal.is_from_api or refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        remedy = "the response is not from Keystone v3; check spec.openstack.authURL and any proxy"
        return Reason.INVALID_REQUEST, remedy
    if refusal.kind is RefusalKind.DENIED:
        return Reason.PERMISSION_DENIED, "Keystone denies the login; ask its administrator"
    return Reason.INVALID_REQUEST, "Keystone refuses the request; check spec.openstack.authURL"


def _hint(text: str) -> str | None:
    if _MFA.search(text):
        return "the user needs a second factor; use an application credential"
    if _EXPIRED_PASSWORD.search(text):
        return "the password has expired; change it in Keystone, then correct the Secret"
    return None


def _refused(credentials: Credentials, *, is_unknown: bool) -> str:
    match credentials:
        case ApplicationCredentials() if is_unknown:
            return (
                "Keystone does not know it: it was deleted, or the ID is wrong; correct the Secret"
            )
        case ApplicationCredentials():
            return (
                "it has expired, its secret is wrong, or its user is disabled or lost a role; "
                "create another one and correct the Secret"
            )
        case PasswordCredentials():
            return (
                "user, password, domain or spec.projectID is wrong, or the user is disabled, "
                "locked or without a role in the project; correct the Secret or grant the role"
            )
        case _:
            return "it is expired, revoked or not of this Keystone; put a fresh token into it"
