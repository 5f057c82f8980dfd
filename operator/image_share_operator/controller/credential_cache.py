"""Credentials by Secret, cached for a while so that a rotation is noticed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from image_share_operator.api import secret
from image_share_operator.api.credentials import Credentials
from image_share_operator.api.errors import KubeRetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.secret import Secret

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


@dataclass(slots=True)
class _CacheSlot:
    """The cached state of one Secret; the lock makes all waiters share one read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: datetime | None = None
    held: LoadedCredentials | UnusableSecretError | KubeRetryableError | None = None


class CredentialStore:
    """Credentials by Secret; a cached value is used up to ``ttl``."""

    def __init__(
        self,
        secrets: SecretReader,
        *,
        now: Callable[[], datetime],
        ttl: timedelta,
        most: int = 10_000,
    ) -> None:
        self._secrets = secrets
        self._now = now
        self._ttl = ttl
        self._most = most
        self._slots: dict[tuple[str, str], _CacheSlot] = {}

    async def get(self, namespace: str, name: str) -> LoadedCredentials:
        """Return the credentials of the Secret, up to ``ttl`` old.

        Raises:
            UnusableSecretError: there is no such Secret, or a key is missing.
            KubeError: the Secret could not be read.
        """
        if len(self._slots) >= self._most:
            self._slots.clear()  # simpler than an order; costs one more read for each Secret
        slot = self._slots.setdefault((namespace, name), _CacheSlot())
        async with slot.lock:
            if slot.held is None or slot.until is None or self._now() >= slot.until:
                slot.held = await self._read(namespace, name)
                slot.until = self._now() + self._good_for(slot.held)
        if isinstance(slot.held, LoadedCredentials):
            return slot.held
        raise slot.held.with_traceback(None)

    def _good_for(
        self, found: LoadedCredentials | UnusableSecretError | KubeRetryableError
    ) -> timedelta:
        """How long the result of a read is cached."""
        if isinstance(found, LoadedCredentials):
            return self._ttl
        if isinstance(found, UnusableSecretError):
            return min(NEGATIVE_TTL, self._ttl)
        return found.retry_after or FAILED_READ_TTL

    async def _read(
        self, namespace: str, name: str
    ) -> LoadedCredentials | UnusableSecretError | KubeRetryableError:
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
