"""How the requests of one identity are authorized: each has a token, or a signature."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import httpx

from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    GivenTokenEnd,
    Identity,
    TokenCredentials,
)
from image_share_operator.api.errors import CloudError
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.access_key import AccessKeyAuthorization
from image_share_operator.cloud.iam.given_token import GivenToken
from image_share_operator.cloud.iam.logins import Logins, Tokens

TOKEN_REFUSED = (RefusalKind.TOKEN, RefusalKind.MISMATCH)
"""Kinds after which a new token may help: the cloud has many codes for an expired one."""
TOKEN_HEADER = "X-Auth-Token"  # noqa: S105 - the name of a header


class Authorization(Protocol):
    """Authorizes and sends the requests of one identity."""

    @property
    def given_token_end(self) -> GivenTokenEnd | None:
        """When the token of a Secret ends; ``None`` for other credentials, or when not known."""
        ...

    async def log_in(self) -> None:
        """Check the credentials with the cloud, unless they were checked.

        Raises:
            CloudError: they are refused or blocked, or there was no response.
        """
        ...

    async def send(
        self, build: Callable[[], httpx.Request], to_error: Callable[[Refusal], CloudError]
    ) -> httpx.Response | Refusal:
        """Send a request; send it again, once, if the token or the signature was refused.

        Args:
            build: returns the request, without authorization; called for each attempt.
            to_error: converts a refusal to the error that says what to do about it.

        Raises:
            CloudError: as `CloudHttpClient.send`; or the credentials are refused or blocked.
        """
        ...

    def age_s(self, now: datetime) -> float:
        """Seconds since the login of the current token; 0 when there is none."""
        ...


async def send_throttled(
    throttle: Throttle,
    authorization: Authorization,
    build: Callable[[], httpx.Request],
    to_error: Callable[[Refusal], CloudError],
) -> httpx.Response | Refusal:
    """Send a request as `Authorization.send` does, unless the cloud throttles the identity.

    Raises:
        CloudError: as `Authorization.send`; or no request was sent, because of the throttling.
    """
    throttle.admit()
    response = await authorization.send(build, to_error)
    if isinstance(response, Refusal) and response.kind is RefusalKind.THROTTLED:
        throttle.throttled(response.retry_after)
    else:
        throttle.accepted()
    return response


def authorization_of(
    identity: Identity, http_client: CloudHttpClient, logins: Logins
) -> Authorization:
    """Return how requests with these credentials are authorized.

    Args:
        logins: of all identities of this process.
    """
    if isinstance(identity.credentials, AccessKeyCredentials) and identity.agency is None:
        return AccessKeyAuthorization(logins.signer(identity, http_client))
    return TokenAuthorization(identity, http_client, logins.tokens(identity, http_client))


class TokenAuthorization:
    """Sends each request with a token of IAM."""

    def __init__(self, identity: Identity, http_client: CloudHttpClient, tokens: Tokens) -> None:
        self._http_client = http_client
        self._tokens = tokens
        # No login issues another token than the one of the Secret.
        self._issues = not isinstance(identity.credentials, TokenCredentials)

    @property
    def given_token_end(self) -> GivenTokenEnd | None:
        """When the token of a Secret ends; ``None`` for other credentials, or when not known."""
        return self._tokens.end if isinstance(self._tokens, GivenToken) else None

    async def log_in(self) -> None:
        """Log in unless there is a token."""
        await self._tokens.current()

    async def send(
        self, build: Callable[[], httpx.Request], to_error: Callable[[Refusal], CloudError]
    ) -> httpx.Response | Refusal:
        """Send a request; send it again with a new token if the first one is refused.

        If the new one is refused, too, or if there were renewals moments ago, the refusal says so.
        """
        token = await self._tokens.current()
        response = await self._send(build(), token)
        if isinstance(response, Refusal) and response.kind in TOKEN_REFUSED:
            renewed = await self._tokens.renew(token, to_error(response))
            if renewed is not None:
                token = renewed
                response = await self._send(build(), token)
        if isinstance(response, Refusal) and response.kind in TOKEN_REFUSED:
            return replace(response, token_is_new=self._issues)
        self._tokens.accepted(token)
        return response

    async def _send(self, request: httpx.Request, token: str) -> httpx.Response | Refusal:
        request.headers[TOKEN_HEADER] = token
        return await self._http_client.send(request)

    def age_s(self, now: datetime) -> float:
        """Seconds since the login of the current token; 0 when there is none."""
        return self._tokens.age_s(now)
