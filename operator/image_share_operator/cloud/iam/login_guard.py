"""Keeps wrong credentials from being tried often: IAM locks an account after a few failed logins.

One guard watches over all logins with the same credentials at the same IAM, whatever projects,
Secrets and namespaces use them. Its lock lets them go one by one, so each knows what became of the
one before. What it asks for is a function: no I/O of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from image_share_operator.api.credentials import Credentials, Identity, RefusedLogin
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.throttle import Throttle

REFUSED_FOR = timedelta(minutes=20)
"""How long refused credentials are not tried again. Five tries in 15 min lock an account."""
UNANSWERED_FOR = timedelta(seconds=1)
"""How long those who wait share the news that IAM did not answer."""
MAX_GUARDS = 5_000
"""From so many on, those are forgotten that have nothing to remember."""

Got = TypeVar("Got")


@dataclass(frozen=True, slots=True)
class _Block:
    """A failed login, remembered."""

    error: CloudError
    until: datetime


class LoginGuard:
    """Watches over the logins with some credentials at one IAM."""

    def __init__(self, now: Callable[[], datetime], doubtful_until: datetime) -> None:
        self._now = now
        self._doubtful_until = doubtful_until
        # Spans a login on purpose: all who wait want to know its result before they try.
        self._lock = asyncio.Lock()
        self._users = 0
        self._throttle = Throttle(now)
        self._of_all: _Block | None = None
        self._of_one: dict[Identity, _Block] = {}
        # One refusal may be the fault of the project: some answer 401 to a wrong one. A second
        # before this time, with no success in between, is the fault of the credentials.
        self._suspect_until: datetime | None = None
        self._proven = False

    @property
    def at_rest(self) -> bool:
        """Whether there is nothing to remember, and nobody waits."""
        now = self._now()
        holds = (*self._of_one.values(), *filter(None, (self._of_all,)))
        remembers = self._throttle.quiet or any(now < hold.until for hold in holds)
        candidates = self._suspect_until is not None and now < self._suspect_until
        return not (self._users or remembers or candidates)

    def admit(self, identity: Identity) -> None:
        """Let a try pass.

        Raises:
            CloudError: it is not to be tried now; why the last one failed.
        """
        now = self._now()
        for hold in (self._of_one.get(identity), self._of_all):
            if hold is not None and now < hold.until:
                raise hold.error.with_traceback(None)
        self._throttle.admit()

    async def attempt(self, identity: Identity, log_in: Callable[[], Awaitable[Got]]) -> Got:
        """Log in, unless it is known to fail.

        Raises:
            CloudError: it failed, or would.
        """
        self._users += 1
        try:
            async with self._lock:
                self.admit(identity)
                try:
                    got = await log_in()
                except CloudError as exc:
                    self._failed(identity, exc)
                    raise
                self._worked(identity)
                return got
        finally:
            self._users -= 1

    def refuse(self, identity: Identity, error: TerminalError) -> None:
        """Remember what is known to fail without a login."""
        self._of_one[identity] = _Block(error, self._now() + REFUSED_FOR)

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        """Take note of what an earlier process found out; it counts in the first minutes only."""
        if self._now() >= self._doubtful_until:
            return
        words = (
            "the account was locked" if refused_login.locked else "IAM refused these credentials"
        )
        hold = _Block(
            TerminalError(
                f"IAM login: not tried, since {words} before the operator started, and the "
                "Secret has not changed; correct it",
                reason=Reason.ACCOUNT_LOCKED
                if refused_login.locked
                else Reason.CREDENTIALS_INVALID,
            ),
            self._doubtful_until,
        )
        if refused_login.of_project:
            self._of_one.setdefault(identity, hold)
        if refused_login.of_all and not self._proven:
            self._of_all = self._of_all or hold
        if not self._proven:
            self._suspect_until = self._suspect_until or self._doubtful_until

    def _failed(self, identity: Identity, error: CloudError) -> None:
        now = self._now()
        if isinstance(error, ThrottledError):
            self._throttle.refused(error.retry_after)
        elif isinstance(error, RetryableError):
            self._of_all = _Block(error, now + (error.retry_after or UNANSWERED_FOR))
        elif isinstance(error, TerminalError):
            self._of_one = {one: hold for one, hold in self._of_one.items() if now < hold.until}
            self.refuse(identity, error)
            self._spread(error)

    def _spread(self, error: TerminalError) -> None:
        """Hold the others too, if the refusal is about them as well."""
        now = self._now()
        if error.reason is Reason.ACCOUNT_LOCKED:
            self._of_all = _Block(error, now + REFUSED_FOR)
        elif error.reason is Reason.CREDENTIALS_INVALID:
            if self._suspect_until is not None and now < self._suspect_until:
                told = f"not tried here, since the same credentials were refused twice: {error}"
                self._of_all = _Block(TerminalError(told, reason=error.reason), now + REFUSED_FOR)
            self._suspect_until = now + REFUSED_FOR

    def _worked(self, identity: Identity) -> None:
        self._proven = True
        self._of_all = self._suspect_until = None
        self._of_one.pop(identity, None)
        self._throttle.passed()


class LoginGuards:
    """The guards of all credentials in use, and of those that are being held."""

    def __init__(self, now: Callable[[], datetime], most: int = MAX_GUARDS) -> None:
        self._now = now
        self._most = self._room = most
        self._doubtful_until = now() + REFUSED_FOR
        self._known: dict[tuple[Credentials, str], LoginGuard] = {}

    def of(self, identity: Identity) -> LoginGuard:
        """The one guard of these credentials at this IAM.

        To be asked for each time: one that has nothing to remember may be forgotten.
        """
        key = (identity.credentials, _origin(identity.endpoints.iam))
        guard = self._known.get(key)
        if guard is None:
            if len(self._known) >= self._room:
                self._known = {
                    one: known for one, known in self._known.items() if not known.at_rest
                }
                self._room = max(self._most, 2 * len(self._known))
            guard = self._known[key] = LoginGuard(self._now, self._doubtful_until)
        return guard


def _origin(url: str) -> str:
    """Scheme, host and port: the same however they are written."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return url  # nothing is reached by it
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}"
