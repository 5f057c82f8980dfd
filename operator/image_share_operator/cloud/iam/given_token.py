"""Checks a token that a Secret contains: once, with IAM, before it is used.

IMS reports a token of another project as an image that is not shared. So the project is compared
here. The check is a help only: where IAM does not show tokens, the token is used without it.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus

from image_share_operator.api.credentials import GivenTokenEnd, Identity, TokenCredentials
from image_share_operator.api.errors import CloudError, RetryableError, TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam import codec
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.timestamps import zulu

CHECK_AGAIN_AFTER = timedelta(minutes=1)
"""How long a token is used without a check when IAM does not respond."""
WARN_BEFORE = timedelta(hours=1)
"""How long before its end a warning begins: time to put a new token into the Secret."""
WARN_SHARE = 0.25
"""The share of its lifetime before the end at which the warning for a token with a short lifetime
begins."""

log = logging.getLogger(__name__)


class GivenToken:
    """The token of one identity. No login renews it: a refused one is blocked."""

    def __init__(
        self,
        identity: Identity,
        http_client: CloudHttpClient,
        now: Callable[[], datetime],
        guards: LoginGuards,
    ) -> None:
        if not isinstance(identity.credentials, TokenCredentials):
            raise TypeError("these credentials have no token")
        self._identity = identity
        self._token = identity.credentials.token
        self._http_client = http_client
        self._now = now
        self._guards = guards
        # Held during the check on purpose: all waiting requests use its result.
        self._lock = asyncio.Lock()
        self._check_at: datetime | None = now()
        self._warned = False
        self.end: GivenTokenEnd | None = None

    async def current(self) -> str:
        """Return the token.

        Raises:
            CloudError: it can't be used, or is blocked.
        """
        guard = self._guards.of(self._identity)
        async with self._lock:
            guard.admit(self._identity)
            try:
                await self._check()
            except TerminalError as exc:
                guard.block(self._identity, exc)
                raise
            return self._token

    async def renew(self, refused: str, error: CloudError) -> str | None:
        """Return ``None``, or raise: there is no other token.

        Args:
            refused: the token.
            error: the error with which IMS refused it.

        Raises:
            CloudError: the token is refused, whatever the project, and blocked now.
        """
        del refused
        guard = self._guards.of(self._identity)
        async with self._lock:
            guard.admit(self._identity)
            if isinstance(error, TerminalError) and error.reason is Reason.CREDENTIALS_INVALID:
                expired = TerminalError(
                    f"{error}: put a fresh token into it", reason=Reason.CREDENTIALS_INVALID
                )
                guard.block(self._identity, expired)
                raise expired
            return None

    def age_s(self, now: datetime) -> float:
        """Return 0: IAM issued the token at an unknown time."""
        del now
        return 0.0

    def accepted(self, token: str) -> None:
        """Do nothing: the token is not renewed."""

    async def _check(self) -> None:
        """Check the token unless it was checked.

        Raises:
            TerminalError: it is expired, or not for the project.
        """
        if self._check_at is not None and self._now() >= self._check_at:
            await self._show()
        if self.end is None:
            return
        now = self._now()
        if now >= self.end.at:
            raise _unusable(f"it expired at {zulu(self.end.at, 'seconds')}")
        if now >= self.end.warn_at and not self._warned:
            self._warned = True
            log.warning(
                "token of a Secret in namespace %s expires at %s; put a new one into the Secret",
                self._identity.namespace or "(none)",
                zulu(self.end.at, "seconds"),
            )

    async def _show(self) -> None:
        request = self._http_client.client.build_request(
            "GET",
            f"{self._identity.endpoints.iam}/v3/auth/tokens",
            params={"nocatalog": "true"},
            headers={"X-Auth-Token": self._token, "X-Subject-Token": self._token},
            extensions={"route": routes.INTROSPECTION},
        )
        try:
            response = await self._http_client.send(request)
        except RetryableError:
            self._check_at = self._now() + CHECK_AGAIN_AFTER
            return
        self._check_at = None
        if isinstance(response, Refusal):
            if response.status == HTTPStatus.UNAUTHORIZED:
                raise _unusable(f"IAM returned HTTP 401: it is expired, revoked or {_NOT_ONE}")
            if response.kind in (RefusalKind.RETRY, RefusalKind.THROTTLED):
                self._check_at = self._now() + CHECK_AGAIN_AFTER
            return  # this IAM does not show tokens
        shown = codec.read_shown_token(response)
        if shown is None:
            return
        if shown.project_id != self._identity.project_id:
            raise _unusable(_scope_fault(shown, self._identity.project_id))
        if shown.remaining is not None and shown.remaining > timedelta():
            at = self._now() + shown.remaining
            lifetime = max(shown.lifetime or shown.remaining, shown.remaining)
            self.end = GivenTokenEnd(at=at, warn_at=at - min(WARN_BEFORE, lifetime * WARN_SHARE))


_NOT_ONE = "not a token of this IAM"


def _scope_fault(shown: codec.ShownToken, project_id: str) -> str:
    if shown.project_id is None:
        return f"it has no project; request one with the scope of project {project_id}"
    return f"it is for project {shown.project_id}, not for spec.projectID {project_id}"


def _unusable(why: str) -> TerminalError:
    return TerminalError(
        f"the token of the Secret can't be used: {why}; put a fresh token into it",
        reason=Reason.CREDENTIALS_INVALID,
    )
