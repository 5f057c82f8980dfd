"""The ways to a token, composed of small logins.

    without an agency   one request of the credentials, with the scope of the project: a password,
                        or a token of a ServiceAccount, which the API server issues
    with an agency      1. a base token: one request of the credentials, with the scope of the
                           user's own account; or a check of an access key. All projects share it.
                        2. one request with the base for the token of each project: `agency.py`

Each login is a function without arguments. `TokenSource` calls it when it has no usable token.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import assert_never
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
from image_share_operator.api.errors import KubeError, RetryableError, TerminalError
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Agency
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.iam import codec, error_mapping
from image_share_operator.cloud.iam.agency import (
    AgencyLogin,
    Bases,
    BaseTokens,
    CheckedKeys,
    guarded,
)
from image_share_operator.cloud.iam.client import IamClient
from image_share_operator.cloud.iam.error_mapping import LoginWords
from image_share_operator.cloud.iam.given_token import GivenToken
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.signer import Signer
from image_share_operator.cloud.iam.signing import SigningForm
from image_share_operator.cloud.iam.tokens import Login, TokenSource

MAX_ENDPOINTS = 1_000
"""IAM endpoints of which the field for the name of an agency is remembered."""

Tokens = TokenSource | GivenToken
"""The token of one identity."""
ScopedLogin = Callable[[codec.Scope | None], Awaitable[codec.Token]]
"""Sends one login with a scope, or without one."""
IdTokens = Callable[
    [ServiceAccountCredentials, IdToken | None], Awaitable[tuple[IdToken, datetime]]
]
"""Returns a token of a ServiceAccount, which is not the given one, and when it ends, by our
clock."""


class Logins:
    """Builds the tokens of identities.

    Args:
        guards: limit the logins of all tokens that are built here.
        id_tokens: returns a token of a ServiceAccount, and when it ends.
        signing_form: of the requests that are signed with an access key.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        guards: LoginGuards,
        id_tokens: IdTokens,
        *,
        signing_form: SigningForm = SigningForm.SCOPED,
    ) -> None:
        self.now = now
        self.guards = guards
        self._id_tokens = id_tokens
        self._signing_form = signing_form
        self._name_fields: LRUCache[str, str] = LRUCache(MAX_ENDPOINTS)
        # Weak: each lives as long as a token that is made from it.
        self._base_tokens: WeakValueDictionary[Identity, TokenSource] = WeakValueDictionary()
        self._base_keys: WeakValueDictionary[Identity, CheckedKeys] = WeakValueDictionary()

    def signer(self, identity: Identity, http_client: CloudHttpClient) -> Signer:
        """Signs the requests of an identity that has an access key."""
        return Signer(
            identity, http_client, now=self.now, guards=self.guards, form=self._signing_form
        )

    def tokens(self, identity: Identity, http_client: CloudHttpClient) -> Tokens:
        """The token of an identity, which is not one of an access key without an agency."""
        match identity.credentials:
            case TokenCredentials() if identity.agency is None:
                return GivenToken(identity, http_client, self.now, self.guards)
            case TokenCredentials():
                return TokenSource(_no_login, self.now)
            case ApplicationCredentials():
                return TokenSource(_no_application_credential, self.now)
            case AccessKeyCredentials():
                return TokenSource(self._signed_login(identity, http_client), self.now)
            case PasswordCredentials() | ServiceAccountCredentials() as credentials:
                login = self._login(identity, credentials, http_client)
                return TokenSource(login, self.now)
        assert_never(identity.credentials)

    def _login(
        self,
        identity: Identity,
        credentials: PasswordCredentials | ServiceAccountCredentials,
        http_client: CloudHttpClient,
    ) -> Login:
        iam = IamClient(endpoint=identity.endpoints.iam, http_client=http_client)
        send, scope, who = self._scoped_login(credentials, iam)
        agency = identity.agency
        if agency is None:
            in_project = partial(send, codec.project_scope(identity.project_id))
            return partial(guarded, self.guards, identity, in_project)
        tokens = BaseTokens(source=self._base_token(identity, send, scope), http_client=http_client)
        words = error_mapping.agency_words(who, agency)
        return self._agency_login(identity, agency, iam, tokens, words=words)

    def _signed_login(self, identity: Identity, http_client: CloudHttpClient) -> Login:
        agency = identity.agency
        if agency is None:
            raise TypeError("requests with an access key need no token")
        iam = IamClient(endpoint=identity.endpoints.iam, http_client=http_client)
        keys = self._base_key(identity, http_client)
        words = error_mapping.signed_agency_words(agency)
        return self._agency_login(identity, agency, iam, keys, words=words)

    def _agency_login(
        self, identity: Identity, agency: Agency, iam: IamClient, bases: Bases, *, words: LoginWords
    ) -> AgencyLogin:
        return AgencyLogin(
            identity=identity,
            agency=agency,
            words=words,
            iam=iam,
            bases=bases,
            guards=self.guards,
            name_fields=self._name_fields,
        )

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

    def _base_token(
        self, identity: Identity, send: ScopedLogin, scope: codec.Scope | None
    ) -> TokenSource:
        """The base token of these credentials, for all projects and agencies."""
        account = _account(identity)
        base = self._base_tokens.get(account)
        if base is None:
            log_in = AccountLogin(identity=account, send=send, guards=self.guards, scope=scope)
            base = self._base_tokens[account] = TokenSource(log_in, self.now)
        return base

    def _base_key(self, identity: Identity, http_client: CloudHttpClient) -> CheckedKeys:
        """The access key of these credentials, for all projects and agencies."""
        account = _account(identity)
        base = self._base_keys.get(account)
        if base is None:
            signer = self.signer(account, http_client)
            base = self._base_keys[account] = CheckedKeys(signer, account.endpoints.iam)
        return base


def _account(identity: Identity) -> Identity:
    """The identity for the account of the user: equal for all its projects and agencies."""
    return replace(identity, project_id="", agency=None)


@dataclass(slots=True, kw_only=True)
class IdTokenLogin:
    """Exchanges a token of a ServiceAccount for one of IAM, which is used up to the earlier end.

    Attributes:
        refused: the token that IAM refused last. After a rotation of the cluster's keys, IAM may
            know only the new key, and this token has the old one.
    """

    credentials: ServiceAccountCredentials
    iam: IamClient
    id_tokens: IdTokens
    now: Callable[[], datetime]
    refused: IdToken | None = None

    async def __call__(self, scope: codec.Scope | None) -> codec.Token:
        """Log in with a scope, or without one.

        Raises:
            CloudError: the login failed, or there is no token of the ServiceAccount.
        """
        try:
            id_token, ends_at = await self.id_tokens(self.credentials, self.refused)
        except KubeError as exc:
            raise RetryableError(str(exc)) from exc
        try:
            token = await self.iam.id_token(id_token, self.credentials, scope)
        except TerminalError:
            self.refused = id_token
            raise
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
        return await guarded(self.guards, self.identity, partial(self.send, self.scope))


async def _no_login() -> codec.Token:
    raise TerminalError(
        "spec.agency needs credentials that log in; the operator can't assume an agency with a "
        "token; put a user and its password, or an access key, into the Secret",
        reason=Reason.CREDENTIALS_INVALID,
    )


async def _no_application_credential() -> codec.Token:
    raise TerminalError(
        "IAM has no application credentials; put a user and its password into the Secret, or set "
        "spec.openstack",
        reason=Reason.CREDENTIALS_INVALID,
    )


async def no_id_tokens(
    credentials: ServiceAccountCredentials, refused: IdToken | None
) -> tuple[IdToken, datetime]:
    """Raise: without a cluster, there are no tokens of ServiceAccounts."""
    del refused
    raise TerminalError(
        f"{error_mapping.service_account(credentials)}: only the operator in the cluster can "
        "request its tokens",
        reason=Reason.CREDENTIALS_INVALID,
    )
