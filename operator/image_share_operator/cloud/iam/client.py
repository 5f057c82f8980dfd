"""One method for each request to IAM that returns a token. It knows no cache and no login guard."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from image_share_operator.api.credentials import PasswordCredentials, ServiceAccountCredentials
from image_share_operator.api.id_token import IdToken
from image_share_operator.api.types import Agency
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.payload import Json
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.iam import codec, error_mapping
from image_share_operator.cloud.iam.error_mapping import LoginWords

Send = Callable[[httpx.Request], Awaitable[httpx.Response | Refusal]]
"""Authorizes and sends a request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IamClient:
    """The requests to one IAM endpoint. All methods raise `CloudError`."""

    endpoint: str
    http_client: CloudHttpClient

    async def password(
        self, credentials: PasswordCredentials, scope: codec.Scope | None
    ) -> codec.Token:
        """Log in with a password."""
        words = error_mapping.password_words(credentials.user)
        return _token(await self._post(codec.login_body(credentials, scope)), words)

    async def id_token(
        self,
        id_token: IdToken,
        credentials: ServiceAccountCredentials,
        scope: codec.Scope | None,
    ) -> codec.Token:
        """Exchange a token of a ServiceAccount."""
        words = error_mapping.id_token_words(credentials, id_token.key_id)
        response = await self._post(
            codec.id_token_body(id_token.value, scope),
            {"X-Idp-Id": credentials.identity_provider},
            route=routes.ID_TOKEN_LOGIN,
        )
        return _token(response, words)

    async def agency(
        self, send: Send, agency: Agency, project_id: str, *, name_field: str, words: LoginWords
    ) -> tuple[codec.Token, str]:
        """Assume an agency; return the token and the field that this IAM knows.

        Args:
            send: authorizes the request for the account of the user that assumes the agency.
            name_field: is tried first; the other one is tried once when IAM refuses the request.
        """
        used = name_field
        response = await send(self._login(codec.agency_body(agency, project_id, used)))
        if isinstance(response, Refusal) and response.status == HTTPStatus.BAD_REQUEST:
            (used,) = (name for name in codec.AGENCY_NAME_FIELDS if name != name_field)
            response = await send(self._login(codec.agency_body(agency, project_id, used)))
        return _token(response, words), used

    async def _post(
        self, body: Json, headers: dict[str, str] | None = None, *, route: str = routes.LOGIN
    ) -> httpx.Response | Refusal:
        return await self.http_client.send(self._login(body, headers, route=route))

    def _login(
        self, body: Json, headers: dict[str, str] | None = None, *, route: str = routes.LOGIN
    ) -> httpx.Request:
        # A POST that changes nothing: the outcome does not matter when the response is lost.
        return self.http_client.client.build_request(
            "POST",
            f"{self.endpoint}{route.removeprefix('POST ')}",
            params={"nocatalog": "true"} if route is routes.LOGIN else None,
            headers=headers,
            json=body,
            extensions={"route": route},
        )


def _token(response: httpx.Response | Refusal, words: LoginWords) -> codec.Token:
    if isinstance(response, Refusal):
        raise error_mapping.login_error(response, words)
    return codec.read_token(response)
