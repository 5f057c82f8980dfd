"""From a Secret to credentials; nobody else sees Secret bytes."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials
from image_share_operator.api.errors import KubeRetryableError, TerminalError
from image_share_operator.api.reasons import Reason

NEGATIVE_TTL = timedelta(seconds=5)
"""How long a Secret that is missing or unusable stays so without another look."""


UNANSWERED_TTL = timedelta(seconds=1)
"""How long all who want a Secret share the news that the API server did not give it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret as read. ``version`` is its resourceVersion: it changes with its content."""

    version: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Usable credentials and the version of the Secret they came from."""

    credentials: Credentials
    version: str
    ca: str | None = None


class Secrets(Protocol):
    """Kubernetes, as far as this room needs it."""

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
class _Slot:
    """What is known of one Secret; the lock makes all who wait share one read."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: datetime | None = None
    held: Held | UnusableSecretError | KubeRetryableError | None = None


class CredentialStore:
    """Credentials by Secret, read again after a while so that a rotation is noticed."""

    def __init__(
        self, secrets: Secrets, *, now: Callable[[], datetime], ttl: timedelta, most: int = 10_000
    ) -> None:
        self._secrets = secrets
        self._now = now
        self._ttl = ttl
        self._most = most
        self._slots: dict[tuple[str, str], _Slot] = {}

    async def get(self, namespace: str, name: str) -> Held:
        """Return the credentials of the Secret, at most ``ttl`` old.

        Raises:
            UnusableSecretError: there is no such Secret, or a key is missing.
            KubeError: the Secret could not be read.
        """
        if len(self._slots) >= self._most:
            self._slots.clear()  # cheaper than order: each costs one read again
        slot = self._slots.setdefault((namespace, name), _Slot())
        async with slot.lock:
            if slot.held is None or slot.until is None or self._now() >= slot.until:
                slot.held = await self._read(namespace, name)
                slot.until = self._now() + self._good_for(slot.held)
        if isinstance(slot.held, Held):
            return slot.held
        raise slot.held.with_traceback(None)

    def _good_for(self, found: Held | UnusableSecretError | KubeRetryableError) -> timedelta:
        """How long nobody looks again; all who ask meanwhile get the same answer."""
        if isinstance(found, Held):
            return self._ttl
        if isinstance(found, UnusableSecretError):
            return min(NEGATIVE_TTL, self._ttl)
        return found.retry_after or UNANSWERED_TTL

    async def _read(
        self, namespace: str, name: str
    ) -> Held | UnusableSecretError | KubeRetryableError:
        try:
            secret = await self._secrets.read_secret(namespace, name)
        except KubeRetryableError as exc:
            return exc
        if secret is None:
            message = (
                f"Secret {name} not found in namespace {namespace}: create it, or correct "
                "spec.credentialsSecretRef.name"
            )
            return UnusableSecretError(message, reason=Reason.SECRET_NOT_FOUND, version="")
        try:
            # In a thread: the first clouds.yaml imports a library for half a second.
            credentials = await asyncio.to_thread(parse, secret.data)
            return Held(credentials=credentials, version=secret.version, ca=parse_ca(secret.data))
        except ValueError as exc:
            return UnusableSecretError(
                f"Secret {name}: {exc}",
                reason=Reason.CREDENTIALS_INVALID,
                version=secret.version,
            )


def parse(data: Mapping[str, bytes]) -> Credentials:
    """Read credentials from the keys of a Secret.

    Raises:
        ValueError: a key is missing or empty; the message names the key, never a value.
    """
    credentials = _of_keys(data)
    if isinstance(credentials, TokenCredentials) and not _fits_header(credentials.token):
        raise ValueError("the token holds characters that no token has")
    return credentials


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _of_keys(data: Mapping[str, bytes]) -> Credentials:
    if "token" in data:
        return TokenCredentials(token=_text(data, "token"))
    if "clouds.yaml" in data:
        cloud = _text(data, "cloud") if "cloud" in data else None
        return clouds_yaml.read(data["clouds.yaml"], cloud)
    if "userID" in data:
        return PasswordCredentials(user_id=_text(data, "userID"), password=_text(data, "password"))
    if "username" not in data and "password" not in data:
        raise ValueError(
            "needs the key token, or clouds.yaml, or username, password and domainName"
        )
    return PasswordCredentials(
        user_name=_text(data, "username"),
        password=_text(data, "password"),
        domain_name=_text(data, "domainName"),
    )


def parse_ca(data: Mapping[str, bytes]) -> str | None:
    """Read the certificates of a private authority; ``None`` when there are none.

    Raises:
        ValueError: they are no certificates in PEM.
    """
    if "ca.crt" not in data:
        return None
    # Names in comments may be anything; certificates are ASCII, and the library wants no more.
    text = _text(data, "ca.crt").encode("ascii", "replace").decode()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("key ca.crt holds no certificates in PEM form") from None
    return text


def _text(data: Mapping[str, bytes], key: str) -> str:
    """The value without the line end that editors and files leave behind."""
    if key not in data:
        raise ValueError(f"key {key} is missing")
    try:
        text = data[key].decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"key {key} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"key {key} is empty")
    return text
