"""The IAM token of one identity: kept, renewed early, renewed once when refused.

One login serves all who wait for it, and a failed one is remembered for all of them: IAM locks
an account after five failed logins in fifteen minutes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from image_share_operator import metrics
from image_share_operator.cloud import refusals, routes, wire
from image_share_operator.cloud.call import Caller
from image_share_operator.errors import CloudError, RetryableError, TerminalError
from image_share_operator.identity import Identity, TokenCredentials
from image_share_operator.reasons import Reason

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
REFUSED_FOR = timedelta(minutes=20)
"""How long refused credentials are not tried again. Five tries in 15 min lock an account."""
UNANSWERED_FOR = timedelta(seconds=1)
"""How long those who wait share the news that IAM did not answer."""


@dataclass(frozen=True, slots=True)
class _Hold:
    """A failed login, remembered."""

    error: CloudError
    until: datetime


class Tokens:
    """The token of one identity."""

    def __init__(self, identity: Identity, caller: Caller, now: Callable[[], datetime]) -> None:
        self._identity = identity
        self._caller = caller
        self._now = now
        # Spans a login on purpose: all who wait want its result, not one of their own.
        self._lock = asyncio.Lock()
        self._token: wire.Token | None = None
        self._renew_at: datetime | None = None
        self._since = now()
        self._renewals: list[datetime] = []
        self._proven = False
        self._hold: _Hold | None = None

    async def current(self) -> str:
        """Return a token that should work.

        Raises:
            CloudError: there is none to be had; the same error for all who ask meanwhile.
        """
        credentials = self._identity.credentials
        async with self._lock:
            self._raise_hold()
            if isinstance(credentials, TokenCredentials):
                return credentials.token
            if self._token is None or self._renew_at is None or self._now() >= self._renew_at:
                await self._log_in()
            return self._value()

    async def renewed(self, refused: str, why: CloudError) -> str | None:
        """Return another token than the one that was refused; ``None`` when none would help.

        Raises:
            CloudError: there is none to be had; the same error for all who ask meanwhile.
        """
        async with self._lock:
            self._raise_hold()
            if isinstance(self._identity.credentials, TokenCredentials):
                self._refuse_given(why)
                return None
            if self._token is not None and self._token.value != refused:
                return self._token.value  # renewed while we waited
            if not self._renewal_helps():
                return None
            self._token = None
            self._renewals.append(self._now())
            await self._log_in()
            return self._value()

    def age_s(self, now: datetime) -> float:
        """For how many seconds the token has been known; 0 when there is none."""
        return 0.0 if self._token is None else (now - self._since).total_seconds()

    def works(self, token: str) -> None:
        """Take note that the cloud took this token."""
        if self._token is not None and self._token.value == token:
            self._proven = True

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
            raise self._held(error, REFUSED_FOR)

    def _value(self) -> str:
        if self._token is None:
            raise RetryableError("IAM login gave no token")
        return self._token.value

    async def _log_in(self) -> None:
        try:
            token = await self._ask()
        except TerminalError as exc:
            metrics.LOGINS.labels("refused").inc()
            raise self._held(exc, REFUSED_FOR) from exc.__cause__
        except RetryableError as exc:
            metrics.LOGINS.labels("failed").inc()
            if self._token is not None and self._now() < self._token.expires_at:
                # The old one still works; but once it ends, nothing does.
                again = self._now() + (exc.retry_after or UNANSWERED_FOR)
                self._renew_at = min(again, self._token.expires_at)
                return
            raise self._held(exc, exc.retry_after or UNANSWERED_FOR) from exc.__cause__
        metrics.LOGINS.labels("ok").inc()
        self._since = self._now()
        left = token.expires_at - self._since
        self._token = token
        self._proven = False
        self._renew_at = token.expires_at - min(RENEW_BEFORE, left * RENEW_SHARE)

    async def _ask(self) -> wire.Token:
        credentials = self._identity.credentials
        if isinstance(credentials, TokenCredentials):
            raise TypeError("a given token is never logged in")
        # A POST that changes nothing: its lost answer is no unknown outcome.
        request = self._caller.client.build_request(
            "POST",
            f"{self._identity.endpoints.iam}/v3/auth/tokens",
            params={"nocatalog": "true"},
            json=wire.login_body(credentials, self._identity.project_id),
            extensions={"route": routes.LOGIN},
        )
        response = await self._caller.send(request)
        if response.status_code != HTTPStatus.CREATED:
            raise refusals.login_refusal(response)
        return wire.read_token(response)

    def _held(self, error: CloudError, span: timedelta) -> CloudError:
        self._hold = _Hold(error, self._now() + span)
        return error

    def _raise_hold(self) -> None:
        if self._hold is None:
            return
        if self._now() < self._hold.until:
            raise self._hold.error.with_traceback(None)
        self._hold = None
