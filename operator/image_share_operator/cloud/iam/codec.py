"""Builds login requests to IAM and parses its tokens. No I/O."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from image_share_operator.api.credentials import PasswordCredentials
from image_share_operator.api.errors import RetryableError
from image_share_operator.cloud.http.payload import (
    Json,
    dig_text,
    parse_body,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An IAM token. The times are aware and of the clock of IAM.

    Attributes:
        issued_at: ``None`` when it is missing or not valid.
    """

    value: str = field(repr=False)
    expires_at: datetime
    issued_at: datetime | None = None


def login_body(credentials: PasswordCredentials, project_id: str) -> Json:
    """The body of a request for a token of the project.

    Source: IAM API reference, "Obtaining a User Token Through Password Authentication".
    """
    user: Json = {"password": credentials.password}
    if credentials.user_id is not None:
        user["id"] = credentials.user_id
    else:
        by_id = credentials.domain_id is not None
        domain = {"id": credentials.domain_id} if by_id else {"name": credentials.domain_name}
        user |= {"name": credentials.user_name, "domain": domain}
    identity = {"methods": ["password"], "password": {"user": user}}
    return {"auth": {"identity": identity, "scope": {"project": {"id": project_id}}}}


def read_token(response: httpx.Response) -> Token:
    """Read the token from the response to a login that was not refused.

    Raises:
        RetryableError: the response has no token, or no expiry time that is valid.
    """
    value = response.headers.get("X-Subject-Token")
    body = parse_body(response)
    expires = dig_text(body, "token", "expires_at")
    if not value or not value.isascii() or expires is None:
        raise RetryableError(
            f"IAM login: HTTP {response.status_code} without a token; check spec.endpoints.iam"
        )
    expires_at = _time(expires)
    if expires_at is None:
        raise RetryableError("IAM login: the expiry time of the token is not valid")
    issued_at = _time(dig_text(body, "token", "issued_at") or "")
    return Token(value=value, expires_at=expires_at, issued_at=issued_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """What IAM reports about a token.

    Attributes:
        project_id: ``None`` for a token without a scope, or with the scope of an account.
        remaining: until its end, by the clock of IAM; ``None`` when it is not known.
    """

    project_id: str | None
    remaining: timedelta | None


def read_shown_token(response: httpx.Response) -> ShownToken | None:
    """Read what IAM reports about a token; ``None`` when it is not such a response."""
    body = parse_body(response)
    expires_at = _time(dig_text(body, "token", "expires_at") or "")
    if response.status_code != HTTPStatus.OK or expires_at is None:
        return None
    try:
        remaining = expires_at - parsedate_to_datetime(response.headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        remaining = None
    return ShownToken(project_id=dig_text(body, "token", "project", "id"), remaining=remaining)


def _time(text: str) -> datetime | None:
    """Parse a time of IAM; it is in UTC when it has no time zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
