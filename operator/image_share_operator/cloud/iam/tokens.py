"""A cached IAM token: renewed early, and renewed once after a refusal.

One login serves all requests that wait for the token. The login is a function: `logins.py` has one
for each kind of credentials.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from image_share_operator.api.errors import CloudError, RetryableError
from image_share_operator.cloud.iam import codec
from image_share_operator.cloud.iam.login_guard import BLOCK_TIME, UNAVAILABLE_BLOCK_TIME

RENEW_BEFORE = timedelta(minutes=15)
"""How long before its end a token is renewed. The API reference warns that a token may expire
during a request."""
RENEW_SHARE = 0.25
"""The share of its lifetime before the end at which a token with a short lifetime is renewed."""
RENEWAL_GAP = timedelta(seconds=60)
"""The shortest time between two renewals after a refusal, while the new token was never accepted.
Some services return 401 for a missing permission: without this, each request would log in."""
MAX_RENEWALS = 5
"""Renewals after a refusal in `RENEWALS_WINDOW`, for a token that some requests accept and others
refuse."""
RENEWALS_WINDOW = timedelta(minutes=5)
"""The time in which `MAX_RENEWALS` are counted: one login per minute on average."""
MIN_LIFETIME = timedelta(seconds=30)
"""How long a token is used in any case: a wrong expiry time must not cause a login for each
request. IMS refuses a token that is really expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CachedToken:
    """A token with its times by the clock of this process."""

    value: str = field(repr=False)
    since: datetime
    renew_at: datetime
    ends_at: datetime


Login = Callable[[], Awaitable[codec.Token]]
"""Returns a new token, or raises `CloudError`. It goes through the login guard."""


class TokenSource:
    """A token that is renewed by a login."""

    def __init__(self, log_in: Login, now: Callable[[], datetime]) -> None:
        self._send_login = log_in
        self._now = now
        # Held during a login on purpose: all waiting requests use its result.
        self._lock = asyncio.Lock()
        self._token: _CachedToken | None = None
        self._renewals: list[datetime] = []
        self._accepted = False

    async def current(self) -> str:
        """Return a token that is not expired.

        Raises:
            CloudError: the login failed or is blocked; the same error for all waiting requests.
        """
        async with self._lock:
            if self._token is None or self._now() >= self._token.renew_at:
                return await self._log_in()
            return self._token.value

    async def renew(self, refused: str, error: CloudError) -> str | None:
        """Return another token than the refused one; ``None`` when a new one would not help.

        Args:
            refused: the token.
            error: the error with which IMS refused it.

        Raises:
            CloudError: the login failed or is blocked; the same error for all waiting requests.
        """
        del error  # the login reports its own
        async with self._lock:
            if self._token is not None and self._token.value != refused:
                return self._token.value  # another request renewed it during the wait for the lock
            if self._token is not None:
                if not self._renewal_helps():
                    return None
                self._token = None
                self._renewals.append(self._now())
            # Without a token, the login of another request failed: no new token was refused yet.
            return await self._log_in()

    def age_s(self, now: datetime) -> float:
        """Seconds since the login of the current token; 0 when there is none."""
        return 0.0 if self._token is None else (now - self._token.since).total_seconds()

    def accepted(self, token: str) -> None:
        """Record that the cloud accepted this token."""
        if self._token is not None and self._token.value == token:
            self._accepted = True

    def _renewal_helps(self) -> bool:
        now = self._now()
        self._renewals = [at for at in self._renewals if now < at + RENEWALS_WINDOW]
        if len(self._renewals) >= MAX_RENEWALS:
            return False
        return self._accepted or not self._renewals or now >= self._renewals[-1] + RENEWAL_GAP

    async def _log_in(self) -> str:
        old = self._token
        try:
            new = await self._send_login()
        except CloudError as exc:
            if old is None or self._now() >= old.ends_at:
                raise
            # The old token is valid until its end: use it, and renew it again later.
            retry_at = self._now() + _retry_wait(exc)
            self._token = replace(old, renew_at=min(retry_at, old.ends_at))
            return old.value
        self._token = _by_our_clock(new, self._now())
        self._accepted = False
        return self._token.value


def _retry_wait(error: CloudError) -> timedelta:
    """How long to wait after a failed renewal."""
    if isinstance(error, RetryableError):
        return error.retry_after or UNAVAILABLE_BLOCK_TIME
    return BLOCK_TIME


def _by_our_clock(token: codec.Token, now: datetime) -> _CachedToken:
    """Convert the times of a token to our clock, which may differ from that of IAM."""
    lifetime = max(token.expires_at - (token.issued_at or now), MIN_LIFETIME)
    early = min(RENEW_BEFORE, lifetime * RENEW_SHARE)
    return _CachedToken(
        value=token.value,
        since=now,
        renew_at=now + max(lifetime - early, MIN_LIFETIME),
        ends_at=now + lifetime,
    )
