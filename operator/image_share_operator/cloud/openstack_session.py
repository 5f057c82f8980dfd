"""The requests of one identity to a cloud with Keystone and Glance.

Glance has no batches and no jobs: each membership is set by one request, and its response is the
result. So resources share only the token and the reads.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError, JobUnknownError
from image_share_operator.api.jobs import JobReport, RetryGroup
from image_share_operator.api.types import Decision, Membership, OpenStack
from image_share_operator.cloud.coalescing.membership_lookup import raise_common_error
from image_share_operator.cloud.coalescing.shared_reads import SharedReads
from image_share_operator.cloud.glance.client import GlanceClient
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.authorization import TokenAuthorization
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.tokens import TokenSource
from image_share_operator.cloud.keystone.login import KeystoneLogin

MAX_CONCURRENT_WRITES = 8
"""Memberships that one identity sets at once. The limiter of the endpoint has another limit, for
all identities."""


def open_glance(
    identity: Identity,
    http_client: CloudHttpClient,
    now: Callable[[], datetime],
    guards: LoginGuards,
    *,
    insecure: bool,
) -> GlanceClient:
    """Build the client of an identity whose endpoints are those of an `OpenStack`.

    Args:
        insecure: whether a service catalog may name an image endpoint without TLS.
    """
    cloud = identity.endpoints
    if not isinstance(cloud, OpenStack):
        raise TypeError("not a cloud with Keystone and Glance")
    login = KeystoneLogin(
        identity=identity, cloud=cloud, http_client=http_client, guards=guards, insecure=insecure
    )
    tokens = TokenSource(login, now)
    return GlanceClient(
        project_id=identity.project_id,
        url=login.image_url,
        has_access_rules=lambda: login.has_access_rules,
        http_client=http_client,
        authorization=TokenAuthorization(identity, http_client, tokens),
        throttle=Throttle(now),
    )


class OpenStackSession(SharedReads):
    """The requests of one identity: many reconciles share one read."""

    typical_duration = timedelta()
    """How long recent jobs took to settle: there are none."""

    def __init__(self, glance: GlanceClient) -> None:
        super().__init__(glance)
        self.authorization = glance.authorization
        self._glance = glance
        self._writes = asyncio.Semaphore(MAX_CONCURRENT_WRITES)

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> Mapping[str, Membership | CloudError]:
        """Set the memberships of all images; return what each of them is now.

        An image that could not be set has its error; an error that all share is raised.

        Args:
            vault_id: not used; the API server refuses it for such a cloud.
            retry_group: not used; no image is the cause of the failure of another one.
        """
        del vault_id, retry_group

        async def set_one(image: str) -> Membership | CloudError:
            async with self._writes:
                try:
                    return await self._glance.set_member(image, decision)
                except CloudError as exc:
                    return exc

        async with asyncio.TaskGroup() as group:
            tasks = {image: group.create_task(set_one(image)) for image in images}
        results = {image: task.result() for image, task in tasks.items()}
        raise_common_error(results.values())
        return results

    async def job(self, job_id: str) -> JobReport:
        """Report that there is no such job: an earlier spec named another cloud."""
        raise JobUnknownError(f"job {job_id}: this cloud has no jobs")
