"""Sends requests that are signed with one access key, and checks the key before they are sent.

A request that is refused counts towards the lock of the key, as a failed login does. So a check is
one request under the `LoginGuard`, which sends the checks of all projects one after another.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import httpx

from image_share_operator.api.credentials import AccessKeyCredentials, Identity
from image_share_operator.api.errors import (
    CloudError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam import error_mapping
from image_share_operator.cloud.iam.login_guard import LoginGuard, LoginGuards
from image_share_operator.cloud.iam.signing import SigningForm, sign
from image_share_operator.telemetry import metrics

KEY_REFUSED = (RefusalKind.TOKEN, RefusalKind.LOCKED)
"""Kinds of a refused signature. `MISMATCH` is not one: the project is wrong then."""


class Signer:
    """Signs requests with the access key of one identity."""

    def __init__(
        self,
        identity: Identity,
        http_client: CloudHttpClient,
        *,
        now: Callable[[], datetime],
        guards: LoginGuards,
        form: SigningForm,
    ) -> None:
        if not isinstance(identity.credentials, AccessKeyCredentials):
            raise TypeError("these credentials have no access key")
        self.identity = identity
        self.http_client = http_client
        self._credentials = identity.credentials
        self._now = now
        self._guards = guards
        self._form = form
        self._accepted_before = False

    @property
    def guard(self) -> LoginGuard:
        """The guard of the access key."""
        return self._guards.of(self.identity)

    async def check(
        self, request: httpx.Request, scope: Mapping[str, str]
    ) -> httpx.Response | Refusal:
        """Send a request that changes nothing, to check the key.

        Args:
            scope: headers that name what the request is for.

        Returns:
            The response, or a refusal that is not about the key.

        Raises:
            CloudError: the key is refused or blocked, or the response does not show whether the key
                is valid.
        """

        async def send() -> httpx.Response | Refusal:
            try:
                response, signed_at = await self.send(request, scope)
                if isinstance(response, Refusal):
                    self._raise_unless_accepted(response, signed_at)
            except CloudError as exc:
                refused = isinstance(exc, TerminalError)
                metrics.LOGINS.labels("refused" if refused else "failed").inc()
                raise
            metrics.LOGINS.labels("ok").inc()
            return response

        response = await self.guard.log_in(self.identity, send)
        self._accepted_before = True
        return response

    async def send(
        self, request: httpx.Request, scope: Mapping[str, str]
    ) -> tuple[httpx.Response | Refusal, datetime]:
        """Send a request; return also the time in its signature.

        Raises:
            CloudError: as `CloudHttpClient.send`; or the key is blocked.
        """
        signed_at = self._now()

        def sign_now(request: httpx.Request) -> None:
            nonlocal signed_at
            self.guard.admit(self.identity)
            signed_at = self._now()
            sign(request, self._credentials, scope=scope, now=signed_at, form=self._form)

        return await self.http_client.send(request, sign_now), signed_at

    def error(self, refusal: Refusal, signed_at: datetime) -> CloudError:
        """The error for a signature that was refused."""
        return error_mapping.signature_error(
            refusal,
            skew=timedelta() if refusal.date is None else refusal.date - signed_at,
            temporary=self._credentials.security_token is not None,
            accepted_before=self._accepted_before,
        )

    def _raise_unless_accepted(self, refusal: Refusal, signed_at: datetime) -> None:
        """Raise unless the key is accepted: any other refusal is left to the caller."""
        if is_key_refused(refusal):
            raise self.error(refusal, signed_at)
        if refusal.kind is RefusalKind.THROTTLED:
            raise ThrottledError(str(refusal), retry_after=refusal.retry_after)
        if refusal.kind is RefusalKind.RETRY:
            message = f"{refusal.endpoint}: {refusal}"
            raise RetryableError(message, retry_after=refusal.retry_after)


def is_key_refused(response: httpx.Response | Refusal) -> bool:
    """Whether the cloud refused the signature of a request."""
    return isinstance(response, Refusal) and response.kind in KEY_REFUSED
