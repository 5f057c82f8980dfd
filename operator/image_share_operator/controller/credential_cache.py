"""Credentials by Secret or ServiceAccount, cached for a while so that a rotation is noticed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from image_share_operator.api import id_token, secret
from image_share_operator.api.credentials import Credentials, ServiceAccountCredentials
from image_share_operator.api.errors import (
    KubeForbiddenError,
    KubeInvalidError,
    KubeRetryableError,
    TerminalError,
)
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.reasons import Reason
from image_share_operator.api.secret import Secret
from image_share_operator.api.types import CredentialsRef, SecretRef, ServiceAccountRef
from image_share_operator.flowcontrol.single_flight import SingleFlightCache

NEGATIVE_TTL = timedelta(seconds=5)
"""How long a missing or unusable Secret is cached as such."""


FAILED_READ_TTL = timedelta(seconds=1)
"""How long a failed read is cached, so that all waiters share it."""
TOKEN_LIFETIME = timedelta(hours=1)
"""The requested lifetime of a token of a ServiceAccount, as in a pod. IAM accepts it to its end,
also when the ServiceAccount is deleted."""
TOKEN_SHARE = 0.75
"""The share of this lifetime after which another token is requested."""
NO_VERSION = "serviceAccount"
"""Stands for the version of a Secret where a ServiceAccount has the credentials."""
DENIED = "denied"
"""The same while the API server denies its tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCredentials:
    """Usable credentials and the version of the Secret they came from.

    Attributes:
        id_token: of a ServiceAccount, with the time of its end by our clock.
    """

    credentials: Credentials
    version: str
    ca: str | None = None
    id_token: tuple[IdToken, datetime] | None = None


class CredentialReader(Protocol):
    """The calls to Kubernetes that this module needs."""

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """Return the Secret, or ``None`` when there is none."""
        ...

    async def request_token(
        self, namespace: str, name: str, audience: str, lifetime: timedelta
    ) -> str | None:
        """Return a token of the ServiceAccount, or ``None`` when there is none."""
        ...


class UnusableSecretError(TerminalError):
    """The Secret or ServiceAccount is missing or can't be used.

    Attributes:
        version: of the Secret that was read; empty when there is no Secret or ServiceAccount.
    """

    def __init__(self, message: str, *, reason: Reason, version: str) -> None:
        super().__init__(message, reason=reason)
        self.version = version


_Loaded = LoadedCredentials | UnusableSecretError | KubeRetryableError
"""The result of a read; errors are cached too, so that all waiters share them."""


class CredentialStore:
    """Credentials by reference; those of a Secret are used up to ``ttl``."""

    def __init__(
        self,
        reader: CredentialReader,
        *,
        now: Callable[[], datetime],
        ttl: timedelta,
    ) -> None:
        self._reader = reader
        self._now = now
        self._ttl = ttl
        self._cache = SingleFlightCache[tuple[str, CredentialsRef], _Loaded](now)

    async def get(self, namespace: str, ref: CredentialsRef) -> LoadedCredentials:
        """Return the credentials of a Secret or ServiceAccount in the namespace.

        Raises:
            UnusableSecretError: it does not exist, or can't be used.
            KubeError: it could not be read.
        """

        async def load() -> tuple[_Loaded, timedelta]:
            found = await self._load(namespace, ref)
            return found, self._valid_for(found)

        found = await self._cache.get((namespace, ref), load)
        if isinstance(found, LoadedCredentials):
            return found
        raise found.with_traceback(None)

    async def id_token(
        self, credentials: ServiceAccountCredentials, refused: IdToken | None = None
    ) -> tuple[IdToken, datetime]:
        """Return a token of the ServiceAccount, and when it ends.

        Args:
            refused: is not returned again: the API server may sign with another key now.

        Raises:
            UnusableSecretError: there is no such ServiceAccount, or its tokens are denied.
            KubeError: the token could not be requested.
        """
        ref = ServiceAccountRef(
            name=credentials.name,
            identity_provider=credentials.identity_provider,
            audience=credentials.audience,
        )
        found = await self.get(credentials.namespace, ref)
        if found.id_token is not None and found.id_token[0] == refused:
            self._cache.drop((credentials.namespace, ref), found)
            found = await self.get(credentials.namespace, ref)
        if found.id_token is None:
            raise TypeError("a ServiceAccount has tokens")
        return found.id_token

    def _valid_for(self, found: _Loaded) -> timedelta:
        """How long the result of a read is cached."""
        if isinstance(found, LoadedCredentials):
            if found.id_token is not None:
                return found.id_token[0].lifetime * TOKEN_SHARE
            return self._ttl
        if isinstance(found, UnusableSecretError):
            return min(NEGATIVE_TTL, self._ttl)
        return found.retry_after or FAILED_READ_TTL

    async def _load(self, namespace: str, ref: CredentialsRef) -> _Loaded:
        try:
            match ref:
                case SecretRef():
                    return await self._read_secret(namespace, ref.name)
                case ServiceAccountRef():
                    return await self._request_token(namespace, ref)
        except KubeRetryableError as exc:
            return exc

    async def _request_token(self, namespace: str, ref: ServiceAccountRef) -> _Loaded:
        began = self._now()
        try:
            value = await self._reader.request_token(
                namespace, ref.name, ref.audience, TOKEN_LIFETIME
            )
        except (KubeForbiddenError, KubeInvalidError) as exc:
            return UnusableSecretError(
                f"the API server denies its tokens: {exc}; or use spec.credentialsSecretRef",
                reason=Reason.CREDENTIALS_INVALID,
                version=DENIED,
            )
        if value is None:
            message = (
                f"not found in namespace {namespace}; create it, or correct "
                "spec.serviceAccount.name"
            )
            return UnusableSecretError(message, reason=Reason.CREDENTIALS_INVALID, version="")
        try:
            token = id_token.parse(value)
        except ValueError as exc:
            return KubeRetryableError(f"{ref}: the API server returned {exc}")
        credentials = ServiceAccountCredentials(
            namespace=namespace,
            name=ref.name,
            identity_provider=ref.identity_provider,
            audience=ref.audience,
        )
        return LoadedCredentials(
            credentials=credentials, version=NO_VERSION, id_token=(token, began + token.lifetime)
        )

    async def _read_secret(self, namespace: str, name: str) -> _Loaded:
        found = await self._reader.read_secret(namespace, name)
        if found is None:
            message = (
                f"Secret {name} not found in namespace {namespace}. Create it, or correct "
                "spec.credentialsSecretRef.name."
            )
            return UnusableSecretError(message, reason=Reason.SECRET_NOT_FOUND, version="")
        try:
            # In a thread: the largest certificate bundle takes 30 ms.
            credentials, ca = await asyncio.to_thread(
                lambda: (secret.parse(found.data), secret.parse_ca(found.data))
            )
            return LoadedCredentials(credentials=credentials, version=found.version, ca=ca)
        except ValueError as exc:
            return UnusableSecretError(
                str(exc), reason=Reason.CREDENTIALS_INVALID, version=found.version
            )
