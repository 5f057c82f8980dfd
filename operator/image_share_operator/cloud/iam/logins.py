"""The ways to a token, composed of small logins.

    without an agency   one request of the credentials, with the scope of the project: a password,
                        or a token of a ServiceAccount, which the API server issues
    with an agency      1. a base token: one request of the credentials, with the scope of the
                           user's own account; all projects share this token
                        2. one request with the base token for the token of each project

Each login is a function without arguments. `TokenSource` calls it when it has no usable token. The
base token has a `TokenSource` of its own: so it is cached, renewed early and renewed once after a
refusal in the same way, and a renewal of an agency token waits for that of the base token.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from cachetools import LRUCache

from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    Identity,
    PasswordCredentials,
    ServiceAccountCredentials,
    TokenCredentials,
)
from image_share_operator.api.errors import CloudError, KubeError, RetryableError, TerminalError
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Agency
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.iam import codec, error_mapping
from image_share_operator.cloud.iam.client import BaseTokenRefusedError, IamClient
from image_share_operator.cloud.iam.error_mapping import LoginWords
from image_share_operator.cloud.iam.given_token import GivenToken
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.tokens import TokenSource
from image_share_operator.telemetry import metrics

MAX_ENDPOINTS = 1_000
"""IAM endpoints of which the field for the name of an agency is remembered."""

T = TypeVar("T")
Tokens = TokenSource | GivenToken
"""The token of one identity."""
ScopedLogin = Callable[[codec.Scope | None], Awaitable[codec.Token]]
"""Sends one login with a scope, or without one."""
IdTokens = Callable[[ServiceAccountCredentials], Awaitable[tuple[IdToken, datetime]]]
"""Returns a token of a ServiceAccount and when it ends, by our clock."""


class Logins:
    """Builds the tokens of identities.

    Args:
        guards: limit the logins of all tokens that are built here.
        id_tokens: returns a token of a ServiceAccount, and when it ends.
    """

    def __init__(
        self, now: Callable[[], datetime], guards: LoginGuards, id_tokens: IdTokens
    ) -> None:
        self.now = now
        self.guards = guards
        self._id_tokens = id_tokens
        self._name_fields: LRUCache[str, str] = LRUCache(MAX_ENDPOINTS)
        # Weak: a base token lives as long as a token that is made from it.
        self._base_tokens: WeakValueDictionary[Identity, TokenSource] = WeakValueDictionary()

    def tokens(self, identity: Identity, http_client: CloudHttpClient) -> Tokens:
        """The token of an identity, which is not one of an access key without an agency."""
        credentials, agency = identity.credentials, identity.agency
        if isinstance(credentials, TokenCredentials | AccessKeyCredentials):
            if agency is not None:
                return TokenSource(partial(_no_login, credentials), self.now)
            if isinstance(credentials, AccessKeyCredentials):
                raise TypeError("requests with an access key need no token")
            return GivenToken(identity, http_client, self.now, self.guards)
        if isinstance(credentials, ApplicationCredentials):
            return TokenSource(_no_application_credential, self.now)
        iam = IamClient(endpoint=identity.endpoints.iam, http_client=http_client)
        send, scope, who = self._scoped_login(credentials, iam)
        if agency is None:
            in_project = partial(send, codec.project_scope(identity.project_id))
            return TokenSource(partial(_guarded, self.guards, identity, in_project), self.now)
        log_in = AgencyLogin(
            identity=identity,
            agency=agency,
            words=error_mapping.agency_words(who, agency),
            iam=iam,
            base=self._base(identity, send, scope),
            guards=self.guards,
            name_fields=self._name_fields,
        )
        return TokenSource(log_in, self.now)

    def _scoped_login(
        self, credentials: PasswordCredentials | ServiceAccountCredentials, iam: IamClient
    ) -> tuple[ScopedLogin, codec.Scope | None, str]:
        """The login, the scope of its own account if it is known, and who logs in."""
        match credentials:
            case PasswordCredentials():
                who = error_mapping.password_words(credentials.user).who
                return partial(iam.password, credentials), codec.own_domain_scope(credentials), who
            case ServiceAccountCredentials():
                login = IdTokenLogin(
                    credentials=credentials, iam=iam, id_tokens=self._id_tokens, now=self.now
                )
                return login, None, error_mapping.service_account(credentials)

    def _base(
        self, identity: Identity, send: ScopedLogin, scope: codec.Scope | None
    ) -> TokenSource:
        """The base token of these credentials, for all projects and agencies."""
        account = replace(identity, project_id="", agency=None)
        base = self._base_tokens.get(account)
        if base is None:
            log_in = AccountLogin(identity=account, send=send, guards=self.guards, scope=scope)
            base = self._base_tokens[account] = TokenSource(log_in, self.now)
        return base


@dataclass(frozen=True, slots=True, kw_only=True)
class IdTokenLogin:
    """Exchanges a token of a ServiceAccount for one of IAM, which is used up to the earlier end."""

    credentials: ServiceAccountCredentials
    iam: IamClient
    id_tokens: IdTokens
    now: Callable[[], datetime]

    async def __call__(self, scope: codec.Scope | None) -> codec.Token:
        """Log in with a scope, or without one.

        Raises:
            CloudError: the login failed, or there is no token of the ServiceAccount.
        """
        try:
            id_token, ends_at = await self.id_tokens(self.credentials)
        except KubeError as exc:
            raise RetryableError(str(exc)) from exc
        token = await self.iam.id_token(id_token, self.credentials, scope)
        now = self.now()
        return codec.ending_by(token, ends_at - now, now)


@dataclass(slots=True, kw_only=True)
class AccountLogin:
    """Logs in with the scope of the user's own account.

    Attributes:
        scope: ``None`` while the account is not known, as for a user by ID. Then IAM reports the
            account of the user in the first token.
    """

    identity: Identity
    send: ScopedLogin
    guards: LoginGuards
    scope: codec.Scope | None

    async def __call__(self) -> codec.Token:
        """Log in.

        Raises:
            CloudError: the login failed or is blocked.
        """
        token = await self._log_in()
        if self.scope is not None or token.domain_id is not None or token.user_domain_id is None:
            return token
        self.scope = codec.domain_scope(token.user_domain_id)
        return await self._log_in()

    async def _log_in(self) -> codec.Token:
        return await _guarded(self.guards, self.identity, partial(self.send, self.scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgencyLogin:
    """Exchanges the base token for a token of the project.

    Attributes:
        name_fields: by IAM endpoint, the field for the name of an agency that it accepted last.
    """

    identity: Identity
    agency: Agency
    words: LoginWords
    iam: IamClient
    base: TokenSource
    guards: LoginGuards
    name_fields: LRUCache[str, str] = field(repr=False)

    async def __call__(self) -> codec.Token:
        """Get a token; renew the base token once if IAM refuses it.

        Raises:
            CloudError: the login failed or is blocked.
        """
        # Before the base login: a project that is blocked must not cause one.
        self.guards.of(self.identity).admit(self.identity)
        base = await self.base.current()
        try:
            return await self._assume(base)
        except BaseTokenRefusedError as exc:
            renewed = await self.base.renew(base, exc.error)
            if renewed is None:
                raise self._blocked(exc.error) from exc
        try:
            return await self._assume(renewed)
        except BaseTokenRefusedError as exc:
            raise self._blocked(exc.error) from exc

    async def _assume(self, base: str) -> codec.Token:
        name_field = self.name_fields.get(self.iam.endpoint, codec.AGENCY_NAME_FIELDS[0])
        send = partial(
            self.iam.agency,
            base,
            self.agency,
            self.identity.project_id,
            name_field=name_field,
            words=self.words,
        )
        token, used = await _guarded(self.guards, self.identity, send)
        self.name_fields[self.iam.endpoint] = used
        self.base.accepted(base)
        return token

    def _blocked(self, error: CloudError) -> CloudError:
        """Block the project: a new base token did not help, or there was one a moment ago."""
        if isinstance(error, TerminalError):
            self.guards.of(self.identity).block(self.identity, error)
        return error


async def _guarded(guards: LoginGuards, identity: Identity, send: Callable[[], Awaitable[T]]) -> T:
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


async def _no_login(credentials: TokenCredentials | AccessKeyCredentials) -> codec.Token:
    held = "a token" if isinstance(credentials, TokenCredentials) else "an access key"
    raise TerminalError(
        f"spec.agency needs a user that logs in; the operator can't assume an agency with {held}; "
        "put a user and its password into the Secret",
        reason=Reason.CREDENTIALS_INVALID,
    )


async def _no_application_credential() -> codec.Token:
    raise TerminalError(
        "IAM has no application credentials; put a user and its password into the Secret, or set "
        "spec.openstack",
        reason=Reason.CREDENTIALS_INVALID,
    )


async def no_id_tokens(credentials: ServiceAccountCredentials) -> tuple[IdToken, datetime]:
    """Raise: without a cluster, there are no tokens of ServiceAccounts."""
    raise TerminalError(
        f"{error_mapping.service_account(credentials)}: only the operator in the cluster can "
        "request its tokens",
        reason=Reason.CREDENTIALS_INVALID,
    )
