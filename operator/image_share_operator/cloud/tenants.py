"""The cloud as each identity sees it: one token per identity, whoever asks."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from image_share_operator.api import Decision, Membership
from image_share_operator.cloud.auth import Tokens
from image_share_operator.cloud.call import Caller
from image_share_operator.cloud.circuit import Throttle
from image_share_operator.cloud.codes import Kind, kind_of_code
from image_share_operator.cloud.ims import Ims
from image_share_operator.facts import Blame, JobReport
from image_share_operator.identity import Identity

MAX_IDENTITIES = 5_000
"""A token is some kilobytes; what was not used for longest is logged in again."""
MEMBER_CALLS_AT_ONCE = 8
"""Member calls of one pass under way together."""


class Tenants:
    """All identities in use."""

    def __init__(self, caller: Caller, now: Callable[[], datetime]) -> None:
        self._caller = caller
        self._now = now
        self._known: OrderedDict[Identity, Tenant] = OrderedDict()

    def tenant(self, identity: Identity) -> "Tenant":
        """The one `Tenant` of this identity."""
        tenant = self._known.get(identity)
        if tenant is None:
            caller = self._caller.trusting(identity.ca)
            tokens = Tokens(identity, caller, self._now)
            throttle = Throttle(self._now)
            tenant = Tenant(Ims(identity=identity, caller=caller, tokens=tokens, throttle=throttle))
            self._known[identity] = tenant
        self._known.move_to_end(identity)
        while len(self._known) > MAX_IDENTITIES:
            self._known.popitem(last=False)
        return tenant


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a pass asks of the cloud; the seam at which many objects will share one batch."""

    ims: Ims

    async def submit(
        self, decision: Decision, vault_id: str | None, images: tuple[str, ...]
    ) -> str:
        """Send one batch; return the id of its job."""
        return await self.ims.update_members(decision, vault_id, images)

    async def job(self, job_id: str) -> JobReport:
        """Ask for a job."""
        return await self.ims.job(job_id)

    async def members(self, images: tuple[str, ...]) -> Mapping[str, Membership]:
        """Look at the memberships of all ``images``.

        Raises:
            CloudError: one of them could not be told; no list that failed may look complete.
        """
        if len(images) == 1:
            return {images[0]: await self.ims.member(images[0])}
        gate = asyncio.Semaphore(MEMBER_CALLS_AT_ONCE)

        async def look(image: str) -> Membership:
            async with gate:
                return await self.ims.member(image)

        tasks: list[asyncio.Task[Membership]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(look(image)) for image in images]
        except* Exception as failures:  # noqa: BLE001 - all are raised on, the first one bare
            raise failures.exceptions[0] from None
        return {image: task.result() for image, task in zip(images, tasks, strict=True)}


def blame(error_code: str | None) -> Blame:
    """Judge the error code of a failed job.

    An unknown code may mean anything: a smaller batch is tried, the same one is not.
    """
    kind = kind_of_code(error_code)
    return Blame(
        retryable=kind in (Kind.RETRY, Kind.THROTTLED),
        divisible=kind in (None, Kind.IMAGES, Kind.TOO_LARGE),
    )
