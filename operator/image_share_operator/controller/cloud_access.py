"""The session of one reconcile: opened when a step needs it, with the object's credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from image_share_operator.api.credentials import (
    GivenTokenEnd,
    Identity,
    RefusedLogin,
    TokenCredentials,
)
from image_share_operator.api.types import CredentialsRef, Desired, Key, Membership
from image_share_operator.controller.credential_cache import LoadedCredentials
from image_share_operator.controller.login_history import LoginHistory
from image_share_operator.controller.plan_executor import Session


class Cloud(Protocol):
    """The calls to the cloud package that this module needs."""

    def session(self, identity: Identity) -> Session:
        """Return the session of this identity."""
        ...

    def given_token_end(self, identity: Identity) -> GivenTokenEnd | None:
        """When the token of a Secret ends; ``None`` for other credentials, or when not known."""
        ...

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        """Record a refused login of these credentials from an earlier process."""
        ...


class CredentialSource(Protocol):
    """Where credentials come from."""

    async def get(self, namespace: str, ref: CredentialsRef) -> LoadedCredentials:
        """Return the credentials of a Secret or ServiceAccount."""
        ...


@dataclass(slots=True)
class CloudAccess:
    """Opens the session of one reconcile.

    Attributes:
        version: of the Secret that was read; ``None`` before it was.
    """

    credentials: CredentialSource
    cloud: Cloud
    login_history: LoginHistory
    key: Key
    desired: Desired
    version: str | None = None
    _session: Session | None = None
    _has_given_token: bool = False
    _identity: Identity | None = None

    @property
    def given_token_end(self) -> GivenTokenEnd | None:
        """When the token of the Secret ends; ``None`` for other credentials, or when not known."""
        return None if self._identity is None else self.cloud.given_token_end(self._identity)

    async def session(self) -> Session:
        """Return the session with the credentials of the object's own namespace."""
        if self._session is None:
            held = await self.credentials.get(self.key.namespace, self.desired.credentials)
            self.version = held.version
            self._has_given_token = isinstance(held.credentials, TokenCredentials)
            identity = Identity(
                credentials=held.credentials,
                project_id=self.desired.project_id,
                endpoints=self.desired.endpoints,
                ca=held.ca,
                agency=self.desired.agency,
                namespace=self.key.namespace,
            )
            refused_login = self.login_history.of(self.key.namespace, self.desired, held.version)
            if refused_login is not None:
                self.cloud.note_refused_login(identity, refused_login)
            self._session, self._identity = self.cloud.session(identity), identity
        return self._session

    def proves_project(self, members: Mapping[str, Membership]) -> bool:
        """Whether memberships that this session read prove that its token is for the project.

        With a token for another project, IMS reports all images as not shared. A login has no
        other project, but IAM may not let the operator check a token that a Secret contains.
        """
        found = set(members.values())
        return bool(found - {Membership.NOT_SHARED} if self._has_given_token else found)
