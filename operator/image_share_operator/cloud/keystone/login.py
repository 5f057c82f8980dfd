"""Logs in at Keystone, and finds the image endpoint in the service catalog of the token."""

from dataclasses import dataclass, field

import httpx

from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    Identity,
    ServiceAccountCredentials,
    TokenCredentials,
)
from image_share_operator.api.errors import CloudError, TerminalError
from image_share_operator.api.types import OpenStack
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam.codec import Token
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.keystone import catalog, codec, error_mapping
from image_share_operator.telemetry import metrics

PATH = "/v3/auth/tokens"


@dataclass(slots=True, kw_only=True)
class KeystoneLogin:
    """The login of one identity; called for each new token.

    A token of a Secret is checked instead: the response has the same content as that of a login.

    Attributes:
        cloud: of the identity.
        insecure: whether an image endpoint of the catalog may be ``http://``.
        has_access_rules: whether the latest token is limited to some requests.
    """

    identity: Identity
    cloud: OpenStack
    http_client: CloudHttpClient
    guards: LoginGuards
    insecure: bool = False
    has_access_rules: bool = field(init=False, default=False)
    _image_url: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Use the image endpoint of the spec if there is one."""
        self._image_url = self.cloud.image_endpoint

    def image_url(self) -> str:
        """The base URL of the image endpoint; known after the first login."""
        if self._image_url is None:
            raise RuntimeError("the image endpoint is not known before the login")
        return self._image_url

    async def __call__(self) -> Token:
        """Log in.

        Raises:
            CloudError: the login failed or is blocked, or the token is not usable.
        """
        login = await self.guards.of(self.identity).log_in(self.identity, self._log_in)
        self.has_access_rules = login.has_access_rules
        self._check(login)  # outside the guard: Keystone counts no failed login
        return login.token

    async def _log_in(self) -> codec.LoginResponse:
        try:
            login = await self._send()
        except CloudError as exc:
            refused = isinstance(exc, TerminalError)
            metrics.LOGINS.labels("refused" if refused else "failed").inc()
            raise
        metrics.LOGINS.labels("ok").inc()
        return login

    async def _send(self) -> codec.LoginResponse:
        credentials = self.identity.credentials
        if isinstance(credentials, AccessKeyCredentials):
            raise error_mapping.no_access_key()
        if isinstance(credentials, ServiceAccountCredentials):
            raise TypeError("the API server refuses a ServiceAccount for such a cloud")
        response = await self.http_client.send(self._request(credentials))
        if isinstance(response, Refusal):
            raise error_mapping.login_error(response, credentials)
        return codec.read_login(response, credentials)

    def _request(self, credentials: codec.KeystoneCredentials) -> httpx.Request:
        url, build = f"{self.cloud.auth_url}{PATH}", self.http_client.client.build_request
        if isinstance(credentials, TokenCredentials):
            headers = {"X-Auth-Token": credentials.token, "X-Subject-Token": credentials.token}
            return build("GET", url, headers=headers, extensions={"route": routes.INTROSPECTION})
        # A POST that changes nothing: the outcome does not matter when the response is lost.
        body = codec.login_body(credentials, self.identity.project_id)
        return build("POST", url, json=body, extensions={"route": routes.LOGIN})

    def _check(self, login: codec.LoginResponse) -> None:
        """Check the project of the token, and find the image endpoint."""
        wanted = self.identity.project_id
        if login.project_id != wanted:
            raise error_mapping.other_project(self.identity.credentials, login.project_id, wanted)
        if self.cloud.image_endpoint is None:
            url = catalog.choose(login.endpoints, self.cloud)
            if not (self.insecure or url.startswith("https://")):
                raise error_mapping.insecure(url)
            self._image_url = url
