"""Authorizes the requests of one identity with an access key: each is signed, there is no token.

The key is checked before it is used. A check is repeated when the cloud refuses a key that it
accepted before. Requests that are already sent then may be refused, too; later ones are not sent.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

import httpx

from image_share_operator.api.errors import CloudError, TerminalError
from image_share_operator.api.types import Endpoints
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam.signer import Signer, is_key_refused


class AccessKeyAuthorization:
    """Signs each request with an access key."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._identity = signer.identity
        self._scope = {"X-Project-Id": signer.identity.project_id}
        # Held during a check on purpose: all waiting requests use its result.
        self._lock = asyncio.Lock()
        self._checks = 0
        self._usable = False

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
        response, _ = await self._signer.send(build(), self._scope)
        if not is_key_refused(response):
            return response
        await self._check_key(check)
        response, signed_at = await self._signer.send(build(), self._scope)
        if isinstance(response, Refusal) and is_key_refused(response):
            raise self._block(self._signer.error(response, signed_at))
        return response

    def age_s(self, now: datetime) -> float:
        """There is no token, so 0."""
        del now
        return 0.0

    async def _check_key(self, seen: int) -> int:
        """Check the key unless there was a check after the first ``seen`` ones.

        Returns:
            The number of checks.
        """
        async with self._lock:
            if not self._usable or self._checks <= seen:
                self._usable = False
                await self._signer.check(self._check_request(), self._scope)
                self._usable = True
                self._checks += 1
            return self._checks

    def _check_request(self) -> httpx.Request:
        endpoints = self._identity.endpoints
        if not isinstance(endpoints, Endpoints):
            raise TypeError("only endpoints of IAM and IMS have an IMS")
        return self._signer.http_client.client.build_request(
            "GET",
            f"{endpoints.ims}/v2/cloudimages",
            params={"visibility": "shared", "member_status": "accepted", "limit": "1"},
            extensions={"route": routes.LIST},
        )

    def _block(self, error: CloudError) -> CloudError:
        """Use the key no more for a while: a check would pass, and the next request be refused."""
        self._usable = False
        if isinstance(error, TerminalError):
            self._signer.guard.block(self._identity, error)
        return error
