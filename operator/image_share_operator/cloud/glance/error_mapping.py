"""Converts a request that Glance refused to the error that says what to do about it. No I/O."""

from http import HTTPStatus

from image_share_operator.api.errors import (
    CloudError,
    ImagesRefusedError,
    RefusedForNowError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal

SETTING = "spec.openstack"
"""Has the URLs, for messages."""
REFUSED_AFTER_LOGIN = (
    "the image service refuses a token that Keystone has just issued: it does not reach Keystone, "
    f"its service credentials are wrong, or {SETTING}.imageEndpoint is of another cloud; ask the "
    "administrator of the cloud"
)
"""The cause and what to do. The credentials are not wrong: Keystone has accepted them."""
NO_MEMBERS = "Not allowed to update members"
"""The text with which Glance denies the update of a membership in a public or community image. For
a missing role it has another one."""


def to_error(refusal: Refusal) -> CloudError:
    """The error for a list, or for a refused token."""
    match refusal.kind:
        case RefusalKind.THROTTLED:
            return ThrottledError(str(refusal), retry_after=refusal.retry_after)
        case RefusalKind.RETRY:
            message = f"{refusal.endpoint}: {refusal}"
            return RetryableError(message, retry_after=refusal.retry_after)
        case RefusalKind.IMAGES if refusal.is_from_api:
            return ImagesRefusedError(str(refusal))
        case RefusalKind.TOKEN | RefusalKind.MISMATCH if refusal.token_is_new:
            message = f"{refusal.cause_and_details}: {REFUSED_AFTER_LOGIN}"
            return RetryableError(message, cause=refusal.cause)
        case RefusalKind.TOKEN | RefusalKind.MISMATCH:
            remedy = "Glance refused the token; correct the Secret"
            return TerminalError(f"{refusal}: {remedy}", reason=Reason.CREDENTIALS_INVALID)
        case RefusalKind.DENIED | RefusalKind.LOCKED:
            return _denied(refusal, "the user needs the role member in the project; grant it")
        case _:
            remedy = "Glance refused the request; correct the spec"
            if not refusal.is_from_api:
                remedy = f"the response is not from Glance; check {SETTING} and any proxy"
            return TerminalError(f"{refusal}: {remedy}", reason=Reason.INVALID_REQUEST)


def member_error(refusal: Refusal) -> CloudError:
    """The error for a request about one membership. It is about this image only, or may be."""
    if refusal.kind is RefusalKind.RETRY:
        message = f"{refusal.endpoint}: {refusal}"
        return RefusedForNowError(message, retry_after=refusal.retry_after)
    if refusal.kind is RefusalKind.DENIED and NO_MEMBERS in (refusal.text or ""):
        remedy = "a public or community image needs no decision; remove it from spec.images"
        return _denied(refusal, remedy)
    return to_error(refusal)


def access_rules_error(refusal: Refusal) -> TerminalError:
    """The error for a new token that is limited to some requests, and refused for this one."""
    remedy = (
        "the access rules of the application credential do not allow the request, or the image "
        "service does not support them; put an application credential without access rules into "
        "the Secret"
    )
    return _denied(refusal, remedy)


def is_not_shared(refusal: Refusal) -> bool:
    """Whether the image does not exist, or is not shared with the project: Glance hides which."""
    return refusal.status == HTTPStatus.NOT_FOUND and refusal.is_from_api


def _denied(refusal: Refusal, remedy: str) -> TerminalError:
    if not refusal.is_from_api:
        remedy = f"{remedy}, or check whether a proxy rejects the request"
    return TerminalError(f"{refusal}: {remedy}", reason=Reason.PERMISSION_DENIED)
