"""One method for each IMS request, for one identity."""

from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from image_share_operator.api.credentials import Identity
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import Decision, Membership
from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind
from image_share_operator.cloud.http.payload import Json
from image_share_operator.cloud.http.refusal import Refusal
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.authorization import Authorization, send_throttled
from image_share_operator.cloud.ims import codec, error_mapping, listing


@dataclass(frozen=True, slots=True, kw_only=True)
class ImsClient:
    """Sends the requests of one identity to IMS.

    All methods raise `CloudError`; its class says what to do.
    """

    identity: Identity
    http_client: CloudHttpClient
    authorization: Authorization
    throttle: Throttle

    async def update_members(
        self, decision: Decision, vault_id: str | None, images: tuple[str, ...]
    ) -> str:
        """Start a job that sets the membership of all ``images``; return its ID.

        Raises:
            OutcomeUnknownError: the batch may have taken effect, but there is no job ID.
        """
        project = self.identity.project_id
        response = await self._send(
            "PUT",
            "/v1/cloudimages/members",
            codec.update_members_body(project, decision, vault_id, images),
            route=routes.UPDATE_MEMBERS,
        )
        if isinstance(response, Refusal):
            raise error_mapping.batch_error(response)
        return codec.read_job_id(response)

    async def job(self, job_id: str) -> JobReport:
        """Poll a job: at the endpoint that reports single images, else at the other one.

        Raises:
            JobUnknownError: both endpoints do not know it.
        """
        project = self.identity.project_id
        response = await self._send("GET", f"/v1/{project}/jobs/{job_id}", route=routes.JOB)
        if isinstance(response, Refusal) and error_mapping.is_unknown_job(response):
            response = await self._send(
                "GET", f"/v1/cloudimages/job/{job_id}", route=routes.IMAGE_JOB
            )
        if isinstance(response, Refusal):
            raise error_mapping.job_error(response)
        return codec.read_job(response)

    async def member(self, image: str) -> Membership:
        """Read the membership of the project in one image."""
        project = self.identity.project_id
        response = await self._send(
            "GET",
            f"/v2/images/{image}/members/{project}",
            route=routes.MEMBER,
        )
        if not isinstance(response, Refusal):
            return codec.read_member(response, image, project)
        if response.kind is RefusalKind.IMAGES:
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
            typed: whether the documented filter is used, which finds no pending images in some
                clouds.
            owner: only images of this project are asked for; other rows may come nevertheless.

        Source: IMS API reference, "Querying Images (OpenStack extension)".
        """
        response = await self._list(
            membership, marker=marker, limit=limit, typed=typed, owner=owner
        )
        return codec.read_shares(response, self.identity.project_id, limit)

    async def offers(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> listing.ListedImagePage:
        """Read the same page as `shared`, with details of each image for the command line."""
        response = await self._list(membership, marker=marker, limit=limit, typed=typed)
        return listing.read(response, self.identity.project_id, limit)

    async def _list(
        self,
        membership: Membership,
        *,
        marker: str | None,
        limit: int,
        typed: bool,
        owner: str | None = None,
    ) -> httpx.Response:
        query = {"member_status": membership.value, "visibility": "shared", "limit": str(limit)}
        if typed:
            query["__imagetype"] = "shared"
        if owner is not None:
            query["owner"] = owner
        if marker is not None:
            query["marker"] = marker
        response = await self._send("GET", f"/v2/cloudimages?{urlencode(query)}", route=routes.LIST)
        if isinstance(response, Refusal):
            raise error_mapping.to_error(response)
        return response

    async def _send(
        self, method: str, path: str, body: Json | None = None, *, route: str
    ) -> httpx.Response | Refusal:
        def build() -> httpx.Request:
            return self.http_client.client.build_request(
                method,
                f"{self.identity.endpoints.ims}{path}",
                json=body,
                extensions={"route": route},
            )

        return await send_throttled(
            self.throttle, self.authorization, build, error_mapping.to_error
        )
