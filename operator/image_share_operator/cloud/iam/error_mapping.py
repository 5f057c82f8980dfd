"""Converts a login or a signature that was refused to the error that says what to do. No I/O."""

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

from image_share_operator.api.credentials import ServiceAccountCredentials
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Agency
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
    (False, False): "accessKey or secretKey is wrong; correct the Secret (a temporary key also "
    "needs securityToken)",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginWords:
    """How messages name a login, and what to do when IAM refuses it.

    Attributes:
        who: of the login, such as "user demo".
        denied: remedy for a missing permission.
        unauthorized: remedy for credentials that IAM does not accept.
        not_found: remedy for any other refusal.
    """

    who: str
    denied: str
    unauthorized: str
    not_found: str


def password_words(user: str) -> LoginWords:
    """The words for a login with a password.

    Args:
        user: the name or ID of the user.
    """
    return LoginWords(
        who=f"user {one_line(user)}",
        denied="the user has no access to the API; enable programmatic access in IAM",
        unauthorized="user, password, domain or spec.projectID is wrong; correct the Secret",
        not_found="no such project for this user; correct spec.projectID or the Secret",
    )


def id_token_words(credentials: ServiceAccountCredentials, key_id: str | None) -> LoginWords:
    """The words for a login with a token of a ServiceAccount.

    Args:
        key_id: of the key that signed the token.
    """
    provider = credentials.identity_provider
    return LoginWords(
        who=service_account(credentials),
        denied=(
            f"the identity provider {provider} gives it no permission in the project; correct the "
            "mapping, or the permissions of its user group"
        ),
        unauthorized=(
            f"the token key ID {key_id or '(unknown)'} is not known to the identity provider "
            f"{provider}, or issuer, audience or mapping differ; upload the keys of this cluster "
            "(kubectl get --raw /openid/v1/jwks) and compare spec.serviceAccount.audience"
        ),
        not_found=(
            "no such identity provider or project; correct spec.serviceAccount.identityProvider or "
            "spec.projectID"
        ),
    )


def service_account(credentials: ServiceAccountCredentials) -> str:
    """The ServiceAccount, for messages."""
    return f"ServiceAccount {credentials.namespace}/{credentials.name}"


def agency_words(who: str, agency: Agency) -> LoginWords:
    """The words for a token by an agency.

    Args:
        who: assumes the agency.
    """
    return LoginWords(
        who=f"{who} as {one_line(str(agency))}",
        denied=(
            "it may not assume the agency; grant it the permission Agent Operator, and check that "
            "the agency trusts its account and has permissions in the project"
        ),
        unauthorized="IAM refuses the token of the login for this agency; check spec.agency",
        not_found="no such agency, account or project; correct spec.agency or spec.projectID",
    )


def signed_agency_words(agency: Agency) -> LoginWords:
    """The words for a token by an agency that an access key assumes.

    IAM refused the access key for the agency after a check that it accepted.
    """
    words = agency_words("the user of the access key", agency)
    return replace(
        words,
        unauthorized="IAM refuses the access key for this agency, although the key is valid; "
        "check spec.agency and spec.projectID",
    )


ACCOUNT_WORDS = LoginWords(
    who="the access key",
    denied="its user has no access to the API; enable programmatic access in IAM",
    unauthorized="the access key is not valid; correct the Secret",
    not_found="IAM does not report the account of the access key; check spec.endpoints.iam",
)
"""The words for the check of an access key at IAM."""


def is_dead_token(refusal: Refusal) -> bool:
    """Whether IAM refused the token in ``X-Auth-Token``; some installations return 403 for it."""
    return refusal.kind is RefusalKind.TOKEN or _DEAD_TOKEN.search(refusal.text or "") is not None


_DEAD_TOKEN = re.compile(r"X-Auth-Token is invalid", re.IGNORECASE)


def login_error(refusal: Refusal, words: LoginWords) -> CloudError:
    """The error for a login. The message has the code and never the text."""
    code = f" {refusal.code}" if refusal.code else ""
    request = f"IAM login of {words.who}"
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
    reason, remedy = _permanent(refusal, words)
    return TerminalError(f"{what}: {remedy}", reason=reason)


def _permanent(refusal: Refusal, words: LoginWords) -> tuple[Reason, str]:
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
        return Reason.PERMISSION_DENIED, hint or words.denied
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        remedy = words.unauthorized
        if not refusal.is_from_api:
            remedy = f"{remedy}, or check whether a proxy rejects the request"
        return Reason.CREDENTIALS_INVALID, hint or remedy
    return Reason.INVALID_REQUEST, hint or words.not_found
