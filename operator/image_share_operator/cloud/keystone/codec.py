"""Builds login requests to Keystone and parses its tokens. No I/O.

Source: Identity API v3, "Authentication and token management".
"""

from dataclasses import dataclass

import httpx

from image_share_operator.api.credentials import (
    ApplicationCredentials,
    PasswordCredentials,
    TokenCredentials,
)
from image_share_operator.api.errors import RetryableError
from image_share_operator.cloud.http.payload import Json, dig, dig_line, dig_text, parse_body
from image_share_operator.cloud.iam import codec as iam_codec
from image_share_operator.cloud.iam.codec import Token, parse_time
from image_share_operator.cloud.keystone import catalog
from image_share_operator.cloud.keystone.catalog import Endpoint

KeystoneCredentials = PasswordCredentials | ApplicationCredentials | TokenCredentials
"""Those that Keystone accepts."""


def login_body(credentials: PasswordCredentials | ApplicationCredentials, project_id: str) -> Json:
    """The body of a request for a token of the project.

    A request with an application credential has no scope: Keystone refuses one.
    """
    if isinstance(credentials, PasswordCredentials):
        return iam_codec.login_body(credentials, iam_codec.project_scope(project_id))
    credential = {"id": credentials.id, "secret": credentials.secret}
    methods = ["application_credential"]
    return {"auth": {"identity": {"methods": methods, methods[0]: credential}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginResponse:
    """What Keystone returns for a login.

    Attributes:
        project_id: that the token is for; ``None`` for a token without a project.
        endpoints: of the image service, in the service catalog.
        has_access_rules: whether an application credential limits the token to some requests.
    """

    token: Token
    project_id: str | None
    endpoints: tuple[Endpoint, ...]
    has_access_rules: bool


def read_login(response: httpx.Response, credentials: KeystoneCredentials) -> LoginResponse:
    """Read the token of a login, or of the check of a token, that was not refused.

    Raises:
        RetryableError: the response has no token, or no expiry time that is valid.
    """
    body = parse_body(response)
    if isinstance(credentials, TokenCredentials):
        value = credentials.token
    else:
        value = response.headers.get("X-Subject-Token", "")
    expires_at = parse_time(dig_text(body, "token", "expires_at") or "")
    if not value or not value.isascii() or expires_at is None:
        raise RetryableError(
            f"Keystone login: HTTP {response.status_code} without a token; check "
            "spec.openstack.authURL"
        )
    # A token of a Secret was issued long ago: its lifetime counts from now on.
    issued = (
        "" if isinstance(credentials, TokenCredentials) else dig_text(body, "token", "issued_at")
    )
    return LoginResponse(
        token=Token(value=value, expires_at=expires_at, issued_at=parse_time(issued or "")),
        project_id=dig_line(body, "token", "project", "id"),
        endpoints=catalog.read_image_endpoints(dig(body, "token", "catalog")),
        has_access_rules=bool(dig(body, "token", "application_credential", "access_rules")),
    )
