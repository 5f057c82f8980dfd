"""Credentials by Secret, cached for a while so that a rotation is noticed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from image_share_operator.api import secret
from image_share_operator.api.credentials import Credentials
from image_share_operator.api.errors import KubeRetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.secret import Secret
from image_share_operator.flowcontrol.single_flight import SingleFlightCache

NEGATIVE_TTL = timedelta(seconds=5)
"""How long a missing or unusable Secret is cached as such."""


FAILED_READ_TTL = timedelta(seconds=1)
"""How long a failed read is cached, so that all waiters share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCredentials:
    """Usable credentials and the version of the Secret they came from."""

    credentials: Credentials
    version: str
    ca: str | None = None


class SecretReader(Protocol):
    """The calls to Kubernetes that this module needs."""

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """Return the Secret, or ``None`` when there is none."""
        ...


class UnusableSecretError(TerminalError):
    """The Secret is missing or lacks a key.

    Attributes:
        version: of the Secret that was read; empty when there is none.
    """

    def __init__(self, message: str, *, reason: Reason, version: str) -> None:
        super().__init__(message, reason=reason)
        self.version = version


_Loaded = LoadedCredentials | UnusableSecretError | KubeRetryableError
"""The result of a read; errors are cached too, so that all waiters share them."""


class CredentialStore:
    """Credentials by Secret; a cached value is used up to ``ttl``."""

    def __init__(
        self,
        secrets: SecretReader,
        *,
        now: Callable[[], datetime],
        ttl: timedelta,
    ) -> None:
        self._secrets = secrets
        self._ttl = ttl
        self._cache = SingleFlightCache[tuple[str, str], _Loaded](now)

    async def get(self, namespace: str, name: str) -> LoadedCredentials:
        """Return the credentials of the Secret, up to ``ttl`` old.

        Raises:
            UnusableSecretError: there is no such Secret, or a key is missing.
            KubeError: the Secret could not be read.
        """

        async def load() -> tuple[_Loaded, timedelta]:
            found = await self._read(namespace, name)
            return found, self._valid_for(found)

        found = await self._cache.get((namespace, name), load)
        if isinstance(found, LoadedCredentials):
            return found
        raise found.with_traceback(None)

    def _valid_for(self, found: _Loaded) -> timedelta:
        """How long the result of a read is cached."""
        if isinstance(found, LoadedCredentials):
            return self._ttl
        if isinstance(found, UnusableSecretError):
            return min(NEGATIVE_TTL, self._ttl)
        return found.retry_after or FAILED_READ_TTL

    async def _read(self, namespace: str, name: str) -> _Loaded:
        try:
            found = await self._secrets.read_secret(namespace, name)
        except KubeRetryableError as exc:
            return exc
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
