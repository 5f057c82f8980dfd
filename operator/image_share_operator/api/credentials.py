"""Who asks the cloud: credentials and their scope. None of these ever shows its secret."""

from dataclasses import dataclass, field

from image_share_operator.api.types import Endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordCredentials:
    """An IAM user; either by name and account, or by id.

    Source: IAM API reference, "Obtaining a User Token Through Password Authentication".
    """

    password: str = field(repr=False)
    user_name: str | None = None
    domain_name: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCredentials:
    """A token that somebody else keeps fresh."""

    token: str = field(repr=False)


Credentials = PasswordCredentials | TokenCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Credentials, the project they are scoped to, and the endpoints they may be shown to.

    Two resources share a token, and later a batch, only when all of these are equal: whoever
    does not know a password can't profit from another's login.

    Attributes:
        ca: certificates in PEM that the endpoints may be signed by, besides the system's.
        namespace: where they were read: whose turn it is when many wait. Not part of who asks.
    """

    credentials: Credentials
    project_id: str
    endpoints: Endpoints
    ca: str | None = None
    namespace: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedLogin:
    """Why a login may fail: one like it did, with the same version of the Secret.

    Attributes:
        locked: whether the account was locked.
        of_project: whether it was refused for this very project.
        of_all: whether other projects would fare no better.
    """

    locked: bool
    of_project: bool
    of_all: bool
