"""One method per IMS call, for one identity in one project."""

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
"""What a job query may answer for a job that is not there, although it means more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImsClient:
    """The image service as one identity sees it.

    All methods raise `CloudError`; which one says what to do.
    """

    identity: Identity
    caller: CloudHttpClient
    tokens: TokenSource
    throttle: Throttle

    async def update_members(
        self, decision: Decision, vault_id: str | None, images: tuple[str, ...]
    ) -> str:
        """Ask for the membership of all ``images`` to be set; return the id of the job.

        Raises:
            OutcomeUnknownError: the batch may be under way although no job id came.
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
        """Ask for a job: at the endpoint that knows single images, else at the other one.

        Raises:
            JobUnknownError: neither knows it.
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
        """Ask for the membership of one image in the own project."""
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
        """One page of the images that are shared with the own project, with this membership.

        Source: IMS API reference, "Querying Images (OpenStack extension)".
        """
        response = await self._list(membership, marker=marker, limit=limit, typed=typed)
        return codec.read_shares(response, self.identity.project_id, limit)

    async def offers(
        self, membership: Membership, *, marker: str | None, limit: int, typed: bool
    ) -> listing.ListedImagePage:
        """As `shared`, with what a person wants to know of each image."""
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
        """Send with a token; once more with another one when the cloud refuses the first."""
        self.throttle.admit()
        token = await self.tokens.current()
        response = await self.caller.send(self._request(token, method, path, body, route))
        if error_mapping.token_refused(response):
            another = await self.tokens.renewed(token, error_mapping.refusal(response))
            if another is None:
                return response
            token = another
            response = await self.caller.send(self._request(token, method, path, body, route))
        if not error_mapping.token_refused(response):
            self.tokens.works(token)
        if error_mapping.throttled(response):
            self.throttle.refused(error_mapping.retry_after(response))
        else:
            self.throttle.passed()
        return response

    def _request(
        self, token: str, method: str, path: str, body: Json | None, route: str
    ) -> httpx.Request:
        return self.caller.client.build_request(
            method,
            f"{self.identity.endpoints.ims}{path}",
            headers={"X-Auth-Token": token},
            json=body,
            extensions={"route": route},
        )


def _no_such_job(response: httpx.Response) -> bool:
    """Whether the endpoint does not know the job: it is not documented how it says so.

    Nothing but the id is asked for, so that is what a bad request means.
    """
    if response.status_code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND):
        return False
    code, _ = error_of(response)
    kind = kind_of(response.status_code, code)
    return code in NO_SUCH_JOB or kind in (RefusalKind.IMAGES, RefusalKind.INVALID)
