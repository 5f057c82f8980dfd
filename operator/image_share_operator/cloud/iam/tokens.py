"""The IAM token of one identity: kept, renewed early, renewed once when refused.

One login serves all who wait for it. Whether it may be tried at all, `login_guard` says.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus

from image_share_operator.api.credentials import Identity, TokenCredentials
from image_share_operator.api.errors import CloudError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http import error_mapping, routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.iam import codec
from image_share_operator.cloud.iam.login_guard import (
    REFUSED_FOR,
    UNANSWERED_FOR,
    LoginGuard,
    LoginGuards,
)
from image_share_operator.telemetry import metrics

RENEW_BEFORE = timedelta(minutes=15)
"""A token is not used in its last minutes: the documentation warns that it may fail in mid-use."""
RENEW_SHARE = 0.25
"""…nor in the last quarter of a short life."""
RENEWAL_GAP = timedelta(seconds=60)
"""A new token that is refused before it ever worked is not renewed within this time: some
services answer 401 where a right is missing, and a login for each would never end."""
RENEWALS_AT_MOST = 5
RENEWALS_WINDOW = timedelta(minutes=5)
"""…nor does a token that works for one call and is refused for the next cause more than these."""
LEAST_LIFE = timedelta(seconds=30)
"""A token is kept for so long, whatever it says of its end: if it does not work, IMS says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CachedToken:
    """A token, by our own clock."""

    value: str = field(repr=False)
    since: datetime
    renew_at: datetime
    ends_at: datetime


class TokenSource:
    """The token of one identity."""

    def __init__(
        self,
        identity: Identity,
        caller: CloudHttpClient,
        now: Callable[[], datetime],
        guards: LoginGuards,
    ) -> None:
        self._identity = identity
        self._caller = caller
        self._now = now
        self._guards = guards
        # Spans a login on purpose: all who wait want its result, not one of their own.
        self._lock = asyncio.Lock()
        self._token: _CachedToken | None = None
        self._renewals: list[datetime] = []
        self._proven = False

    async def current(self) -> str:
        """Return a token that should work.

        Raises:
            CloudError: there is none to be had; the same error for all who ask meanwhile.
        """
        credentials = self._identity.credentials
        async with self._lock:
            if isinstance(credentials, TokenCredentials):
                self._guard.admit(self._identity)
                return credentials.token
            if self._token is None or self._now() >= self._token.renew_at:
                return await self._log_in()
            return self._token.value

    async def renewed(self, refused: str, why: CloudError) -> str | None:
        """Return another token than the one that was refused; ``None`` when none would help.

        Raises:
            CloudError: there is none to be had; the same error for all who ask meanwhile.
        """
        async with self._lock:
            if isinstance(self._identity.credentials, TokenCredentials):
                self._guard.admit(self._identity)
                self._refuse_given(why)
                return None
            if self._token is not None and self._token.value != refused:
                return self._token.value  # renewed while we waited
            if not self._renewal_helps():
                return None
            self._token = None
            self._renewals.append(self._now())
            return await self._log_in()

    def age_s(self, now: datetime) -> float:
        """For how many seconds the token has been known; 0 when there is none."""
        return 0.0 if self._token is None else (now - self._token.since).total_seconds()

    def works(self, token: str) -> None:
        """Take note that the cloud took this token."""
        if self._token is not None and self._token.value == token:
            self._proven = True

    @property
    def _guard(self) -> LoginGuard:
        return self._guards.of(self._identity)

    def _renewal_helps(self) -> bool:
        now = self._now()
        self._renewals = [at for at in self._renewals if now < at + RENEWALS_WINDOW]
        if len(self._renewals) >= RENEWALS_AT_MOST:
            return False
        return self._proven or not self._renewals or now >= self._renewals[-1] + RENEWAL_GAP

    def _refuse_given(self, why: CloudError) -> None:
        """Remember that a given token is dead, unless only this one answer speaks against it."""
        if isinstance(why, TerminalError) and why.reason is Reason.CREDENTIALS_INVALID:
            error = TerminalError(
                f"{why}; put a fresh token into the Secret", reason=Reason.CREDENTIALS_INVALID
            )
            self._guard.refuse(self._identity, error)
            raise error

    async def _log_in(self) -> str:
        old = self._token
        try:
            new = await self._guard.attempt(self._identity, self._ask)
        except CloudError as exc:
            if old is None or self._now() >= old.ends_at:
                raise
            # The old one still works; but once it ends, nothing does.
            again = self._now() + _wait_after(exc)
            self._token = replace(old, renew_at=min(again, old.ends_at))
            return old.value
        self._token = _by_our_clock(new, self._now())
        self._proven = False
        return self._token.value

    async def _ask(self) -> codec.Token:
        try:
            token = await self._exchange()
        except CloudError as exc:
            refused = isinstance(exc, TerminalError)
            metrics.LOGINS.labels("refused" if refused else "failed").inc()
            raise
        metrics.LOGINS.labels("ok").inc()
        return token

    async def _exchange(self) -> codec.Token:
        credentials = self._identity.credentials
        if isinstance(credentials, TokenCredentials):
            raise TypeError("a given token is never logged in")
        # A POST that changes nothing: its lost answer is no unknown outcome.
        request = self._caller.client.build_request(
            "POST",
            f"{self._identity.endpoints.iam}/v3/auth/tokens",
            params={"nocatalog": "true"},
            json=codec.login_body(credentials, self._identity.project_id),
            extensions={"route": routes.LOGIN},
        )
        response = await self._caller.send(request)
        if response.status_code != HTTPStatus.CREATED:
            raise error_mapping.login_refusal(response)
        return codec.read_token(response)


def _wait_after(error: CloudError) -> timedelta:
    """How long after a failed renewal the next one is worth a try."""
    if isinstance(error, RetryableError):
        return error.retry_after or UNANSWERED_FOR
    return REFUSED_FOR


def _by_our_clock(token: codec.Token, now: datetime) -> _CachedToken:
    """Count the life of a token from now: the cloud's clock may differ from ours."""
    life = max(token.expires_at - (token.issued_at or now), LEAST_LIFE)
    early = min(RENEW_BEFORE, life * RENEW_SHARE)
    return _CachedToken(
        value=token.value,
        since=now,
        renew_at=now + max(life - early, LEAST_LIFE),
        ends_at=now + life,
    )
