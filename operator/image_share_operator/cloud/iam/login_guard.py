"""Limits failed logins, because the cloud locks an account or an access key after a few of them.

It also limits the rate of logins.

One guard controls all logins with equal credentials at one endpoint, whatever projects, Secrets and
namespaces use them. For an access key, a login is the check of the key at IMS. The guard sends them
one after another, so that each login knows the result of the one before. It remembers failures as
blocks:

    no response, or 5xx               all projects, for a second, or as long as the cloud asks
    throttled (429)                   all projects, as long as the cloud asks, or by backoff
    credentials refused (401)         this project; a second project within the block time, without
                                      a success in between, blocks all projects
    account or access key locked      all projects, for the block time
    any other refusal                 this project, for the block time

The block time is `BLOCK_TIME`, and `ID_TOKEN_BLOCK_TIME` for a ServiceAccount.

A successful login removes the blocks, except those of other projects. The guard itself does no I/O:
its caller passes the login as a function.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    Credentials,
    Identity,
    RefusedLogin,
    ServiceAccountCredentials,
)
from image_share_operator.api.errors import (
    CloudError,
    LoginBlockedError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Endpoints
from image_share_operator.cloud.http.throttle import Throttle

BLOCK_TIME = timedelta(minutes=20)
"""How long refused credentials are not used again. IAM locks an account after five failed logins in
15 minutes; this is longer."""
ID_TOKEN_BLOCK_TIME = timedelta(minutes=2)
"""How long a refused ServiceAccount is not used again. Its tokens lock no account, and an upload of
the cluster's keys to IAM makes them valid."""
UNAVAILABLE_BLOCK_TIME = timedelta(seconds=1)
"""How long waiting logins share the error when IAM did not respond. So they do not wait for one
timeout after another."""
MAX_GUARDS = 5_000
"""The number of guards at which idle ones are removed: as many as sessions."""

LOGIN_GAP = timedelta(milliseconds=50)
"""The shortest time between the starts of two logins with the same credentials: 20 per second. A
user with thousands of projects must not use up the rate limit of IAM, which other clients share."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Block:
    """A failed login: until a time, the error is raised instead of a new login."""

    error: CloudError
    until: datetime

    def raised(self) -> CloudError:
        """The error to raise; for a permanent one it says how long the block lasts."""
        if isinstance(self.error, TerminalError):
            return LoginBlockedError(str(self.error), reason=self.error.reason, until=self.until)
        return self.error.with_traceback(None)


class LoginGuard:
    """Controls the logins with some credentials at one endpoint."""

    def __init__(
        self, now: Callable[[], datetime], history_valid_until: datetime, block_time: timedelta
    ) -> None:
        self._now = now
        self._block_time = block_time
        self._history_valid_until = history_valid_until
        # Held during a login on purpose: each waiting login needs the result of the one before.
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._throttle = Throttle(now)
        self._block_of_all: _Block | None = None
        self._blocks: dict[Identity, _Block] = {}
        # One refusal may be about the project: some clouds return 401 for a wrong one. A second
        # before this time, without a success in between, is about the credentials.
        self._first_refusal_until: datetime | None = None
        self._has_succeeded = False
        self._next_login_at = float("-inf")  # by the clock of the event loop

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember, and no login waits."""
        now = self._now()
        blocks = (*self._blocks.values(), *filter(None, (self._block_of_all,)))
        blocked = self._throttle.active or any(now < block.until for block in blocks)
        refused_once = self._first_refusal_until is not None and now < self._first_refusal_until
        return not (self._waiting or blocked or refused_once)

    def admit(self, identity: Identity) -> None:
        """Admit a login.

        Raises:
            CloudError: the login is blocked; the error of the login that failed before.
        """
        now = self._now()
        for block in (self._blocks.get(identity), self._block_of_all):
            if block is not None and now < block.until:
                raise block.raised()
        self._throttle.admit()

    async def log_in(self, identity: Identity, send_login: Callable[[], Awaitable[T]]) -> T:
        """Log in unless the login is blocked.

        Raises:
            CloudError: the login failed or is blocked.
        """
        self._waiting += 1
        try:
            async with self._lock:
                self.admit(identity)
                await self._pace()
                try:
                    result = await send_login()
                except CloudError as exc:
                    self._failed(identity, exc)
                    if isinstance(exc, TerminalError):
                        raise self._blocks[identity].raised() from exc
                    raise
                self._succeeded(identity)
                return result
        finally:
            self._waiting -= 1

    async def _pace(self) -> None:
        """Wait until `LOGIN_GAP` has passed since the start of the last login."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(self._next_login_at - loop.time(), 0))
        self._next_login_at = loop.time() + LOGIN_GAP.total_seconds()

    def block(self, identity: Identity, error: TerminalError) -> None:
        """Block the logins of one identity for the block time of its credentials."""
        self._blocks[identity] = _Block(error, self._now() + self._block_time)

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        """Record a refused login of an earlier process; ignored after the first `BLOCK_TIME`."""
        if self._now() >= self._history_valid_until:
            return
        cause = (
            "the cloud had locked the account or the access key"
            if refused_login.locked
            else "the cloud refused these credentials"
        )
        block = _Block(
            TerminalError(
                f"login skipped: {cause} before the operator started, and the Secret has not "
                "changed since then; correct the Secret",
                reason=Reason.ACCOUNT_LOCKED
                if refused_login.locked
                else Reason.CREDENTIALS_INVALID,
            ),
            self._history_valid_until,
        )
        if refused_login.of_project:
            self._blocks.setdefault(identity, block)
        if refused_login.of_all and not self._has_succeeded:
            self._block_of_all = self._block_of_all or block
        if not self._has_succeeded:
            self._first_refusal_until = self._first_refusal_until or self._history_valid_until

    def _failed(self, identity: Identity, error: CloudError) -> None:
        now = self._now()
        if isinstance(error, ThrottledError):
            self._throttle.throttled(error.retry_after)
        elif isinstance(error, RetryableError):
            self._block_of_all = _Block(error, now + (error.retry_after or UNAVAILABLE_BLOCK_TIME))
        elif isinstance(error, TerminalError):
            self._blocks = {one: block for one, block in self._blocks.items() if now < block.until}
            self.block(identity, error)
            self._block_all_if_needed(error)

    def _block_all_if_needed(self, error: TerminalError) -> None:
        """Block all projects if the refusal is about the account or the credentials."""
        now = self._now()
        if error.reason is Reason.ACCOUNT_LOCKED:
            self._block_of_all = _Block(error, now + self._block_time)
        elif error.reason is Reason.CREDENTIALS_INVALID:
            if self._first_refusal_until is not None and now < self._first_refusal_until:
                message = f"login skipped: the same credentials were refused twice: {error}"
                skipped = TerminalError(message, reason=error.reason)
                self._block_of_all = _Block(skipped, now + self._block_time)
            self._first_refusal_until = now + self._block_time

    def _succeeded(self, identity: Identity) -> None:
        self._has_succeeded = True
        self._block_of_all = self._first_refusal_until = None
        self._blocks.pop(identity, None)
        self._throttle.accepted()


class LoginGuards:
    """The guards of all credentials in use, and of all blocked ones."""

    def __init__(self, now: Callable[[], datetime], max_guards: int = MAX_GUARDS) -> None:
        self._now = now
        self._max = self._prune_at = max_guards
        self._history_valid_until = now() + BLOCK_TIME
        self._known: dict[tuple[Credentials, str], LoginGuard] = {}

    def of(self, identity: Identity) -> LoginGuard:
        """The guard of these credentials at the endpoint that checks them.

        Do not keep it: an idle guard may be removed, and this returns another one then.
        """
        signs, endpoints = (
            isinstance(identity.credentials, AccessKeyCredentials),
            identity.endpoints,
        )
        endpoint = endpoints.iam
        if signs and isinstance(endpoints, Endpoints):
            endpoint = endpoints.ims
        key = (identity.credentials, _origin(endpoint))
        guard = self._known.get(key)
        if guard is None:
            if len(self._known) >= self._prune_at:
                self._known = {one: known for one, known in self._known.items() if not known.idle}
                self._prune_at = max(self._max, 2 * len(self._known))
            no_secret = isinstance(identity.credentials, ServiceAccountCredentials)
            guard = self._known[key] = LoginGuard(
                self._now,
                self._history_valid_until,
                ID_TOKEN_BLOCK_TIME if no_secret else BLOCK_TIME,
            )
        return guard


def _origin(url: str) -> str:
    """Scheme, host and port: equal for all spellings of one endpoint."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return url  # not a valid URL: no login is sent to it
    return f"{parts.scheme}://{(parts.hostname or '').rstrip('.')}:{port}"
