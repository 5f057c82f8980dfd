"""Builds login requests to IAM and parses its tokens. No I/O."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx

from image_share_operator.api.credentials import PasswordCredentials
from image_share_operator.api.errors import RetryableError
from image_share_operator.api.types import Agency
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
        domain_id: the account that is the scope of the token; ``None`` for another scope.
        user_domain_id: the account of the user; ``None`` when it is missing.
    """

    value: str = field(repr=False)
    expires_at: datetime
    issued_at: datetime | None = None
    domain_id: str | None = None
    user_domain_id: str | None = None


Scope = Json
"""What a token is valid for, as in the body of a login: a project or an account."""


def ending_by(token: Token, left: timedelta, now: datetime) -> Token:
    """The token with an end that is ``left`` after its issue, unless it ends earlier."""
    return replace(token, expires_at=min(token.expires_at, (token.issued_at or now) + left))


def project_scope(project_id: str) -> Scope:
    """The scope of one project."""
    return {"project": {"id": project_id}}


def domain_scope(domain_id: str) -> Scope:
    """The scope of an account."""
    return {"domain": {"id": domain_id}}


def own_domain_scope(credentials: PasswordCredentials) -> Scope | None:
    """The scope of the account of the user; ``None`` when the credentials do not name it."""
    if credentials.domain_id is not None:
        return domain_scope(credentials.domain_id)
    return (
        None if credentials.domain_name is None else {"domain": {"name": credentials.domain_name}}
    )


def login_body(credentials: PasswordCredentials, scope: Scope | None) -> Json:
    """The body of a request for a token with this scope, or without one.

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
    return {"auth": {"identity": identity} | _scope(scope)}


def _scope(scope: Scope | None) -> Json:
    return {} if scope is None else {"scope": scope}


def agency_body(agency: Agency, project_id: str, name_field: str) -> Json:
    """The body of a request for a token of the project by an agency of its account.

    Args:
        name_field: of `AGENCY_NAME_FIELDS`.

    Source: IAM API reference, "Obtaining an Agency Token".
    """
    by_id = agency.domain_id is not None
    domain = {"domain_id": agency.domain_id} if by_id else {"domain_name": agency.domain_name}
    identity = {"methods": ["assume_role"], "assume_role": {**domain, name_field: agency.name}}
    return {"auth": {"identity": identity, "scope": project_scope(project_id)}}


def id_token_body(id_token: str, scope: Scope | None) -> Json:
    """The body of a request that exchanges an ID token.

    Source: IAM API reference, "Obtaining a Token with an OpenID Connect ID Token".
    """
    return {"auth": {"id_token": {"id": id_token}} | _scope(scope)}


AGENCY_NAME_FIELDS = ("agency_name", "xrole_name")
"""Fields that have the name of the agency, in the order in which they are tried. The table of the
API reference has the first one; its sample and the Go client of the cloud have the second one."""


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
    expires_at = parse_time(expires)
    if expires_at is None:
        raise RetryableError("IAM login: the expiry time of the token is not valid")
    issued_at = parse_time(dig_text(body, "token", "issued_at") or "")
    return Token(
        value=value,
        expires_at=expires_at,
        issued_at=issued_at,
        domain_id=dig_text(body, "token", "domain", "id"),
        user_domain_id=dig_text(body, "token", "user", "domain", "id"),
    )


def read_account_id(response: httpx.Response) -> str:
    """Read the account of a user from the list of its accounts, which has one entry.

    Source: IAM API reference, "Querying the List of Domains Accessible to Users".

    Raises:
        RetryableError: the response has no such list, or more accounts.
    """
    listed = parse_body(response).get("domains")
    accounts = listed if isinstance(listed, list) else []
    ids = [found for found in (dig_text(one, "id") for one in accounts) if found is not None]
    if len(ids) != 1 or not _HEADER_VALUE.fullmatch(ids[0]):
        raise RetryableError(
            f"IAM reports {len(ids)} accounts for the access key; one is expected; check "
            "spec.endpoints.iam, or put a user and its password into the Secret"
        )
    return ids[0]


_HEADER_VALUE = re.compile(r"[!-~]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """What IAM reports about a token.

    Attributes:
        project_id: ``None`` for a token without a scope, or with the scope of an account.
        remaining: until its end, by the clock of IAM; ``None`` when it is not known.
        lifetime: from its issue to its end; ``None`` when it is not known.
    """

    project_id: str | None
    remaining: timedelta | None
    lifetime: timedelta | None


def read_shown_token(response: httpx.Response) -> ShownToken | None:
    """Read what IAM reports about a token; ``None`` when it is not such a response."""
    body = parse_body(response)
    expires_at = parse_time(dig_text(body, "token", "expires_at") or "")
    if response.status_code != HTTPStatus.OK or expires_at is None:
        return None
    try:
        remaining = expires_at - parsedate_to_datetime(response.headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        remaining = None
    issued_at = parse_time(dig_text(body, "token", "issued_at") or "")
    return ShownToken(
        project_id=dig_text(body, "token", "project", "id"),
        remaining=remaining,
        lifetime=None if issued_at is None else expires_at - issued_at,
    )


LATEST = datetime(2200, 1, 1, tzinfo=UTC)
"""Later times are read as this one. The end of a token that never expires may be the last time of
the calendar: by our clock, which differs from that of the cloud, there is no such time."""


def parse_time(text: str) -> datetime | None:
    """Parse a time of IAM or Keystone; it is in UTC when it has no time zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return min(at if at.tzinfo else at.replace(tzinfo=UTC), LATEST)
