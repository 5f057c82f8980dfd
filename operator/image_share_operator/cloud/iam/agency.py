"""Tokens of an agency: what assumes the agency, and the exchange for a token of each project.

    base token    A token for the account of the user that logged in. All projects share it. It has
                  a `TokenSource`: so it is cached, renewed early and renewed once after a refusal,
                  and a renewal of an agency token waits for that of the base token.
    access key    Each exchange is signed with it, and names the account of its user, which IAM
                  reports in the response to the check of the key. All projects share the check.
                  While one is needed, no exchange is sent: a refused one counts towards the lock
                  of the key.

Each exchange goes through the guard of the credentials, one after another.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import httpx
from cachetools import LRUCache

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError, TerminalError
from image_share_operator.api.types import Agency
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam import codec, error_mapping
from image_share_operator.cloud.iam.client import IamClient
from image_share_operator.cloud.iam.error_mapping import LoginWords
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.signer import Signer, is_key_refused
from image_share_operator.cloud.iam.tokens import TokenSource
from image_share_operator.telemetry import metrics

T = TypeVar("T")


class BaseRefusedError(CloudError):
    """IAM does not accept what assumes the agency.

    Args:
        refusal: is reported when another base does not help.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.cause)
        self.refusal = refusal


class BaseReplacedError(Exception):
    """Nothing was sent: IAM refused this base in the request of another project."""


class Base(Protocol):
    """Sends the requests that assume an agency."""

    async def send(self, request: httpx.Request) -> httpx.Response | Refusal:
        """Send a request.

        Raises:
            BaseRefusedError: IAM does not accept this base.
            BaseReplacedError: nothing was sent, because `Bases` has another one.
            CloudError: as `CloudHttpClient.send`.
        """
        ...


class Bases(Protocol):
    """The base of an account, cached: a base token, or a checked access key."""

    async def current(self) -> Base:
        """Return a base that can be used.

        Raises:
            CloudError: the login failed or is blocked.
        """
        ...

    async def renew(self, refused: Base, error: CloudError) -> Base | None:
        """Return another base than the refused one; ``None`` when a new one would not help.

        Raises:
            CloudError: the login failed or is blocked.
        """
        ...

    def accepted(self, base: Base) -> None:
        """Record that IAM accepted this base."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseToken:
    """A base token."""

    value: str = field(repr=False)
    http_client: CloudHttpClient

    async def send(self, request: httpx.Request) -> httpx.Response | Refusal:
        """Send a request with the token."""
        request.headers["X-Auth-Token"] = self.value
        response = await self.http_client.send(request)
        if isinstance(response, Refusal) and error_mapping.is_dead_token(response):
            raise BaseRefusedError(response)
        return response


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTokens:
    """The base token of an account."""

    source: TokenSource
    http_client: CloudHttpClient

    async def current(self) -> BaseToken:
        """Return the token; log in when there is none."""
        return self._base(await self.source.current())

    async def renew(self, refused: Base, error: CloudError) -> BaseToken | None:
        """Log in again, unless another project did."""
        value = await self.source.renew(_token_of(refused), error)
        return None if value is None else self._base(value)

    def accepted(self, base: Base) -> None:
        """Record that IAM accepted the token."""
        self.source.accepted(_token_of(base))

    def _base(self, value: str) -> BaseToken:
        return BaseToken(value=value, http_client=self.http_client)


def _token_of(base: Base) -> str:
    if not isinstance(base, BaseToken):
        raise TypeError("not a base token")
    return base.value


@dataclass(slots=True, kw_only=True, eq=False)
class CheckedKey:
    """An access key that IAM accepted.

    Attributes:
        account_id: of the user of the key.
        refused: whether IAM refused it later. All projects share this object.
    """

    signer: Signer
    account_id: str
    refused: bool = False

    async def send(self, request: httpx.Request) -> httpx.Response | Refusal:
        """Send a signed request."""
        if self.refused:
            raise BaseReplacedError
        response, _ = await self.signer.send(request, {"X-Domain-Id": self.account_id})
        if isinstance(response, Refusal) and is_key_refused(response):
            self.refused = True
            raise BaseRefusedError(response)
        return response


class CheckedKeys:
    """The access key of an account."""

    def __init__(self, signer: Signer, endpoint: str) -> None:
        self._signer = signer
        self._endpoint = endpoint
        # Held during a check on purpose: all waiting projects use its result.
        self._lock = asyncio.Lock()
        self._key: CheckedKey | None = None

    async def current(self) -> CheckedKey:
        """Return the key; check it when there was no check, or a refusal after it."""
        async with self._lock:
            if self._key is None or self._key.refused:
                self._key = None
                self._key = CheckedKey(signer=self._signer, account_id=await self._check())
            return self._key

    async def renew(self, refused: Base, error: CloudError) -> CheckedKey:
        """Check the key again, unless another project did."""
        del refused, error  # the key is marked as refused, and the check reports its own error
        return await self.current()

    def accepted(self, base: Base) -> None:
        """Do nothing: a check is repeated after a refusal only."""

    async def _check(self) -> str:
        """Check the key; return the account of its user."""
        request = self._signer.http_client.client.build_request(
            "GET",
            f"{self._endpoint}{routes.ACCOUNTS.removeprefix('GET ')}",
            extensions={"route": routes.ACCOUNTS},
        )
        response = await self._signer.check(request, {})
        if isinstance(response, Refusal):
            raise error_mapping.login_error(response, error_mapping.ACCOUNT_WORDS)
        return codec.read_account_id(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyLogin:
    """Exchanges a base for a token of the project.

    Attributes:
        name_fields: by IAM endpoint, the field for the name of an agency that it accepted last.
    """

    identity: Identity
    agency: Agency
    words: LoginWords
    iam: IamClient
    bases: Bases
    guards: LoginGuards
    name_fields: LRUCache[str, str] = field(repr=False)

    async def __call__(self) -> codec.Token:
        """Get a token; renew the base once if IAM refuses it.

        Raises:
            CloudError: the login failed or is blocked.
        """
        # Before the base login: a project that is blocked must not cause one.
        self.guards.of(self.identity).admit(self.identity)
        base = await self.bases.current()
        try:
            return await self._assume(base)
        except BaseRefusedError as exc:
            renewed = await self.bases.renew(base, exc)
            if renewed is None:
                raise self._blocked(exc) from exc
        try:
            return await self._assume(renewed)
        except BaseRefusedError as exc:
            raise self._blocked(exc) from exc

    async def _assume(self, base: Base) -> codec.Token:
        """Assume the agency; with the next base when another project replaced this one."""
        while True:
            try:
                return await self._assume_once(base)
            except BaseReplacedError:
                base = await self.bases.current()

    async def _assume_once(self, base: Base) -> codec.Token:
        async def send() -> codec.Token:
            # Read here: the exchange before this one may have learned which field IAM accepts.
            name_field = self.name_fields.get(self.iam.endpoint, codec.AGENCY_NAME_FIELDS[0])
            token, used = await self.iam.agency(
                base.send,
                self.agency,
                self.identity.project_id,
                name_field=name_field,
                words=self.words,
            )
            self.name_fields[self.iam.endpoint] = used
            return token

        token = await guarded(self.guards, self.identity, send)
        self.bases.accepted(base)
        return token

    def _blocked(self, refused: BaseRefusedError) -> CloudError:
        """Block the project: a new base did not help, or there was one a moment ago."""
        error = error_mapping.login_error(refused.refusal, self.words)
        if isinstance(error, TerminalError):
            self.guards.of(self.identity).block(self.identity, error)
        return error


async def guarded(guards: LoginGuards, identity: Identity, send: Callable[[], Awaitable[T]]) -> T:
    """Send a login through the guard of its credentials, and count it."""

    async def counted() -> T:
        try:
            token = await send()
        except CloudError as exc:
            refused = isinstance(exc, TerminalError)
            metrics.LOGINS.labels("refused" if refused else "failed").inc()
            raise
        metrics.LOGINS.labels("ok").inc()
        return token

    return await guards.of(identity).log_in(identity, counted)
