"""Authorizes the requests of one identity with an access key: each is signed, there is no token.

A request that is refused counts towards the lock of the key, as a failed login does. So the key is
checked before it is used: one request, under the `LoginGuard`, which sends the checks of all
projects one after another. A check is repeated when the cloud refuses a key that it accepted
before. Requests that are already sent then may be refused, too; later ones are not sent.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx

from image_share_operator.api.credentials import AccessKeyCredentials, Identity
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.types import Endpoints
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam import error_mapping
from image_share_operator.cloud.iam.login_guard import LoginGuard, LoginGuards
from image_share_operator.cloud.iam.signing import SigningForm, sign
from image_share_operator.telemetry import metrics

KEY_REFUSED = (RefusalKind.TOKEN, RefusalKind.LOCKED)
"""Kinds of a refused signature. `MISMATCH` is not one: the project is wrong then."""


class AccessKeyAuthorization:
    """Signs each request with an access key."""

    def __init__(
        self,
        identity: Identity,
        credentials: AccessKeyCredentials,
        http_client: CloudHttpClient,
        *,
        now: Callable[[], datetime],
        guards: LoginGuards,
        form: SigningForm,
    ) -> None:
        self._identity = identity
        self._credentials = credentials
        self._http_client = http_client
        self._now = now
        self._guards = guards
        self._form = form
        # Held during a check on purpose: all waiting requests use its result.
        self._lock = asyncio.Lock()
        self._checks = 0
        self._usable = False
        self._accepted_before = False

    @property
    def given_token_end(self) -> None:
        """There is no token, so ``None``."""
        return None

    async def log_in(self) -> None:
        """Check the access key unless it was checked."""
        await self._check_key(0)

    async def send(
        self, build: Callable[[], httpx.Request], to_error: Callable[[Refusal], CloudError]
    ) -> httpx.Response | Refusal:
        """Send a signed request; if it is refused, check the key and send it again."""
        del to_error
        check = await self._check_key(0)
        response, _ = await self._sign_and_send(build())
        if not _is_key_refused(response):
            return response
        await self._check_key(check)
        response, signed_at = await self._sign_and_send(build())
        if isinstance(response, Refusal) and _is_key_refused(response):
            raise self._block(self._error(response, signed_at))
        return response

    def age_s(self, now: datetime) -> float:
        """There is no token, so 0."""
        del now
        return 0.0

    @property
    def _guard(self) -> LoginGuard:
        return self._guards.of(self._identity)

    async def _check_key(self, seen: int) -> int:
        """Check the key unless there was a check after the first ``seen`` ones.

        Returns:
            The number of checks.
        """
        async with self._lock:
            if not self._usable or self._checks <= seen:
                self._usable = False
                await self._guard.log_in(self._identity, self._send_check)
                self._usable = self._accepted_before = True
                self._checks += 1
            return self._checks

    @property
    def _ims_url(self) -> str:
        endpoints = self._identity.endpoints
        if not isinstance(endpoints, Endpoints):
            raise TypeError("only endpoints of IAM and IMS have an IMS")
        return endpoints.ims

    async def _send_check(self) -> None:
        """Send a request that changes nothing.

        Raises:
            CloudError: the key is refused, or the response does not tell.
        """
        request = self._http_client.client.build_request(
            "GET",
            f"{self._ims_url}/v2/cloudimages",
            params={"visibility": "shared", "member_status": "accepted", "limit": "1"},
            extensions={"route": routes.LIST},
        )
        try:
            response, signed_at = await self._sign_and_send(request)
            if isinstance(response, Refusal):
                self._raise_unless_accepted(response, signed_at)
        except CloudError as exc:
            metrics.LOGINS.labels("refused" if isinstance(exc, TerminalError) else "failed").inc()
            raise
        metrics.LOGINS.labels("ok").inc()

    def _raise_unless_accepted(self, refusal: Refusal, signed_at: datetime) -> None:
        """Raise unless the key is accepted: any other refusal is left to the actual request."""
        if _is_key_refused(refusal):
            raise self._error(refusal, signed_at)
        if refusal.kind is RefusalKind.THROTTLED:
            raise ThrottledError(str(refusal), retry_after=refusal.retry_after)
        if refusal.kind is RefusalKind.RETRY:
            message = f"{refusal.endpoint}: {refusal}"
            raise RetryableError(message, retry_after=refusal.retry_after)

    async def _sign_and_send(
        self, request: httpx.Request
    ) -> tuple[httpx.Response | Refusal, datetime]:
        signed_at = self._now()

        def sign_now(request: httpx.Request) -> None:
            nonlocal signed_at
            self._guard.admit(self._identity)
            signed_at = self._now()
            sign(
                request,
                self._credentials,
                scope={"X-Project-Id": self._identity.project_id},
                now=signed_at,
                form=self._form,
            )

        return await self._http_client.send(request, sign_now), signed_at

    def _block(self, error: CloudError) -> CloudError:
        """Use the key no more for a while: a check would pass, and the next request be refused."""
        self._usable = False
        if isinstance(error, TerminalError):
            self._guard.block(self._identity, error)
        return error

    def _error(self, refusal: Refusal, signed_at: datetime) -> CloudError:
        return error_mapping.signature_error(
            refusal,
            skew=timedelta() if refusal.date is None else refusal.date - signed_at,
            temporary=self._credentials.security_token is not None,
            accepted_before=self._accepted_before,
        )


def _is_key_refused(response: httpx.Response | Refusal) -> bool:
    return isinstance(response, Refusal) and response.kind in KEY_REFUSED
