"""Credentials and what they are used for. No ``repr`` shows a secret."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from image_share_operator.api.types import Agency, Cloud

ACCESS_KEY = re.compile(r"[!-+\-.0-~]{1,128}")
"""An access key ID: ASCII without spaces, and without the comma and the slash that separate values
in the header of a signed request. IAM creates 20 letters and digits."""
SECRET_KEY = re.compile(r"[!-~]{1,128}")
"""A secret access key: ASCII without spaces. IAM creates 40 letters and digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCredentials:
    """An IAM user; either by id, or by name and the name or id of the account.

    Source: IAM API reference, "Obtaining a User Token Through Password Authentication".
    """

    password: str = field(repr=False)
    user_name: str | None = None
    domain_name: str | None = None
    domain_id: str | None = None
    user_id: str | None = None

    @property
    def user(self) -> str:
        """The name or ID of the user, for messages."""
        return self.user_name or self.user_id or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCredentials:
    """A token that another program renews."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKeyCredentials:
    """An access key (AK/SK): each request is signed with it, and needs no token.

    Attributes:
        security_token: of a temporary access key; ``None`` for a permanent one.
    """

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCredentials:
    """An application credential of Keystone: its token is for the project that it was made for.

    Source: Identity API v3, "Authenticating with an Application Credential".
    """

    id: str
    secret: str = field(repr=False)


def token_credentials(token: str, name: str) -> TokenCredentials:
    """Check that a token can be sent in a header.

    Args:
        name: of the token, for the message.

    Raises:
        ValueError: it has other characters; the message has no part of it.
    """
    _check_header_value(token, name)
    return TokenCredentials(token=token)


def access_key_credentials(
    access_key: str, secret_key: str, security_token: str | None, *, names: tuple[str, str, str]
) -> AccessKeyCredentials:
    """Check that a request can be signed with an access key.

    Args:
        names: of the three values, for the message.

    Raises:
        ValueError: one has other characters; the message has no part of it.
    """
    for value, allowed, name in zip(
        (access_key, secret_key), (ACCESS_KEY, SECRET_KEY), names[:2], strict=True
    ):
        if not allowed.fullmatch(value):
            raise ValueError(
                f"{name} has characters that are not allowed in an access key; copy it again, "
                "without spaces"
            )
    if security_token is not None:
        _check_header_value(security_token, names[2])
    return AccessKeyCredentials(
        access_key=access_key, secret_key=secret_key, security_token=security_token
    )


def _check_header_value(value: str, name: str) -> None:
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{name} has characters that are not allowed in a token")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountCredentials:
    """A ServiceAccount of the cluster: nothing is stored, a token is requested when it is needed.

    Attributes:
        namespace: of the ServiceAccount, which is that of the resource.
        identity_provider: its ID in IAM.
        audience: of the requested tokens.
    """

    namespace: str
    name: str
    identity_provider: str
    audience: str


Credentials = (
    PasswordCredentials
    | TokenCredentials
    | AccessKeyCredentials
    | ServiceAccountCredentials
    | ApplicationCredentials
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Credentials, the project of their token, and the endpoints they may be sent to.

    Two resources share a token and a batch only when all of these are equal: without the password,
    no resource can use the login of another one.

    Attributes:
        ca: certificates of a private authority in PEM, in addition to those of the system.
        agency: what the credentials assume; ``None`` when they are used as they are.
        namespace: where the Secret is; for fairness only, not compared.
    """

    credentials: Credentials
    project_id: str
    endpoints: Cloud
    ca: str | None = None
    agency: Agency | None = None
    namespace: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenTokenEnd:
    """When the token of a Secret ends, and when to warn, both by our clock."""

    at: datetime
    warn_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedLogin:
    """A login that was refused with the same version of the Secret.

    Attributes:
        locked: whether the account was locked.
        of_project: whether it was refused for this project.
        of_all: whether it is to be expected for all projects.
    """

    locked: bool
    of_project: bool
    of_all: bool
