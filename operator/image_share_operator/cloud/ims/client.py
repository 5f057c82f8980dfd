"""One method for each IMS request, for one identity."""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlencode

import httpx

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import JobUnknownError, OutcomeUnknownError
from image_share_operator.api.jobs import JobReport
from image_share_operator.api.types import Decision, Membership
from image_share_operator.cloud.http import error_mapping, routes
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of
from image_share_operator.cloud.http.payload import Json, error_of
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.tokens import TokenSource
from image_share_operator.cloud.ims import codec, listing

NO_SUCH_JOB = frozenset({"IMG.0023", "IMG.0030"})
"""Codes that a job query returns for an unknown job. Elsewhere they have another meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImsClient:
    """Sends the requests of one identity to IMS.

    All methods raise `CloudError`; its class says what to do.
    """

    identity: Identity
    http_client: CloudHttpClient
    tokens: TokenSource
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
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise OutcomeUnknownError(
                str(error_mapping.refusal(response)),
                retry_after=error_mapping.retry_after(response),
                answered=True,
            )
        if response.status_code != HTTPStatus.OK:
            raise error_mapping.batch_refusal(response)
        return codec.read_job_id(response)

    async def job(self, job_id: str) -> JobReport:
        """Poll a job: at the endpoint that reports single images, else at the other one.

        Raises:
            JobUnknownError: both endpoints do not know it.
        """
        project = self.identity.project_id
        response = await self._send("GET", f"/v1/{project}/jobs/{job_id}", route=routes.JOB)
        if _no_such_job(response):
            response = await self._send(
                "GET", f"/v1/cloudimages/job/{job_id}", route=routes.IMAGE_JOB
            )
        if response.status_code == HTTPStatus.OK:
            return codec.read_job(response)
        if _no_such_job(response):
            raise JobUnknownError(str(error_mapping.refusal(response)))
        raise error_mapping.refusal(response)

    async def member(self, image: str) -> Membership:
        """Read the membership of the project in one image."""
        project = self.identity.project_id
        response = await self._send(
            "GET",
            f"/v2/images/{image}/members/{project}",
            route=routes.MEMBER,
        )
        if response.status_code == HTTPStatus.OK:
            return codec.read_member(response)
        code, _ = error_of(response)
        if kind_of(response.status_code, code) is RefusalKind.IMAGES:
            return Membership.NOT_SHARED
        raise error_mapping.refusal(response)

    async def shared(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> codec.SharePage:
        """Read one page of the images that the project has with this membership.

        Source: IMS API reference, "Querying Images (OpenStack extension)".
        """
        response = await self._list(membership, marker=marker, limit=limit, typed=typed)
        return codec.read_shares(response, self.identity.project_id, limit)

    async def offers(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> listing.ListedImagePage:
        """Read the same page as `shared`, with details of each image for the command line."""
        response = await self._list(membership, marker=marker, limit=limit, typed=typed)
        return listing.read(response, self.identity.project_id, limit)

    async def _list(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> httpx.Response:
        query = {"member_status": membership.value, "visibility": "shared", "limit": str(limit)}
        if typed:
            query["__imagetype"] = "shared"
        if marker is not None:
            query["marker"] = marker
        response = await self._send("GET", f"/v2/cloudimages?{urlencode(query)}", route=routes.LIST)
        if response.status_code != HTTPStatus.OK:
            raise error_mapping.refusal(response)
        return response

    async def _send(
        self, method: str, path: str, body: Json | None = None, *, route: str
    ) -> httpx.Response:
        """Send a request; send it again with a new token if IMS refuses the first one."""
        self.throttle.admit()
        token = await self.tokens.current()
        response = await self.http_client.send(self._request(token, method, path, body, route))
        if error_mapping.token_refused(response):
            renewed = await self.tokens.renew(token, error_mapping.refusal(response))
            if renewed is None:
                return response
            token = renewed
            response = await self.http_client.send(self._request(token, method, path, body, route))
        if not error_mapping.token_refused(response):
            self.tokens.accepted(token)
        if error_mapping.throttled(response):
            self.throttle.throttled(error_mapping.retry_after(response))
        else:
            self.throttle.accepted()
        return response

    def _request(
        self, token: str, method: str, path: str, body: Json | None, route: str
    ) -> httpx.Request:
        return self.http_client.client.build_request(
            method,
            f"{self.identity.endpoints.ims}{path}",
            headers={"X-Auth-Token": token},
            json=body,
            extensions={"route": route},
        )


def _no_such_job(response: httpx.Response) -> bool:
    """Whether the endpoint does not know the job. The API reference has no code for this.

    The job ID is the only input, so a status 400 is about the job ID.
    """
    if response.status_code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return False
    code, _ = error_of(response)
    kind = kind_of(response.status_code, code)
    return code in NO_SUCH_JOB or kind in (RefusalKind.IMAGES, RefusalKind.INVALID)
