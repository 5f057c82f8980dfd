"""One method for each request to Glance, for one identity.

Source: Image service API v2, "Image members" and "List images".
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from image_share_operator.api.errors import OutcomeUnknownError, RetryableError
from image_share_operator.api.types import Decision, Membership
from image_share_operator.cloud.glance import error_mapping
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.payload import Json
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.authorization import Authorization, send_throttled
from image_share_operator.cloud.ims import codec, listing


@dataclass(frozen=True, slots=True, kw_only=True)
class GlanceClient:
    """Sends the requests of one identity to Glance.

    All methods raise `CloudError`; its class says what to do.

    Attributes:
        url: returns the base URL; called after the login, which finds it.
        has_access_rules: returns whether the token is limited to some requests.
    """

    project_id: str
    url: Callable[[], str]
    has_access_rules: Callable[[], bool]
    http_client: CloudHttpClient
    authorization: Authorization
    throttle: Throttle

    async def set_member(self, image: str, decision: Decision) -> Membership:
        """Set the membership of the project in one image; return what it is now.

        A lost response is a `RetryableError` like any other: the next read shows the outcome, and
        setting the same membership again has no effect.
        """
        try:
            response = await self._send(
                "PUT",
                self._member_path(image),
                {"status": decision.wanted.value},
                route=routes.UPDATE_MEMBER,
            )
        except OutcomeUnknownError as exc:
            raise RetryableError(str(exc), retry_after=exc.retry_after) from exc
        return self._membership(response, image)

    async def member(self, image: str) -> Membership:
        """Read the membership of the project in one image."""
        response = await self._send("GET", self._member_path(image), route=routes.MEMBER)
        return self._membership(response, image)

    def _member_path(self, image: str) -> str:
        return f"/v2/images/{image}/members/{self.project_id}"

    def _membership(self, response: httpx.Response | Refusal, image: str) -> Membership:
        if not isinstance(response, Refusal):
            return codec.read_member(
                response, image, self.project_id, setting=error_mapping.SETTING
            )
        if error_mapping.is_not_shared(response):
            return Membership.NOT_SHARED
        raise error_mapping.member_error(response)

    async def shared(
        self,
        membership: Membership,
        *,
        marker: str | None,
        limit: int,
        typed: bool,
        owner: str | None = None,
    ) -> codec.SharePage:
        """Read one page of the images that the project has with this membership.

        Args:
            typed: without a meaning here; IMS has a filter for it.
            owner: only images of this project are asked for.
        """
        del typed
        response = await self._list(membership, marker=marker, limit=limit, owner=owner)
        return codec.read_shares(response, self.project_id, limit)

    async def offers(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> listing.ListedImagePage:
        """Read the same page as `shared`, with details of each image for the command line."""
        del typed
        response = await self._list(membership, marker=marker, limit=limit)
        return listing.read(response, self.project_id, limit)

    async def _list(
        self, membership: Membership, *, marker: str | None, limit: int, owner: str | None = None
    ) -> httpx.Response:
        query = {"visibility": "shared", "member_status": membership.value, "limit": str(limit)}
        if owner is not None:
            query["owner"] = owner
        if marker is not None:
            query["marker"] = marker
        path = f"/v2/images?{urlencode(query)}"
        response = await self._send("GET", path, route=routes.GLANCE_LIST)
        if isinstance(response, Refusal):
            raise error_mapping.to_error(response)
        return response

    async def _send(
        self, method: str, path: str, body: Json | None = None, *, route: str
    ) -> httpx.Response | Refusal:
        def build() -> httpx.Request:
            return self.http_client.client.build_request(
                method, f"{self.url()}{path}", json=body, extensions={"route": route}
            )

        response = await send_throttled(
            self.throttle, self.authorization, build, error_mapping.to_error
        )
        if isinstance(response, Refusal) and response.token_is_new and self.has_access_rules():
            raise error_mapping.access_rules_error(response)
        return response
