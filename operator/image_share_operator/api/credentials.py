"""Credentials and what they are used for. No ``repr`` shows a secret."""

from dataclasses import dataclass, field

from image_share_operator.api.types import Endpoints


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


def token_credentials(token: str, name: str) -> TokenCredentials:
    """Check that a token can be sent in a header.

    Args:
        name: of the token, for the message.

    Raises:
        ValueError: it has other characters; the message has no part of it.
    """
    if not (token.isascii() and token.isprintable()):
        raise ValueError(f"{name} has characters that are not allowed in a token")
    return TokenCredentials(token=token)


Credentials = PasswordCredentials | TokenCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Credentials, the project of their token, and the endpoints they may be sent to.

    Two resources share a token and a batch only when all of these are equal: without the password,
    no resource can use the login of another one.

    Attributes:
        ca: certificates of a private authority in PEM, in addition to those of the system.
        namespace: where the Secret is; for fairness only, not compared.
    """

    credentials: Credentials
    project_id: str
    endpoints: Endpoints
    ca: str | None = None
    namespace: str = field(default="", compare=False)


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
