"""The cloud as each identity sees it: one token per identity, whoever asks."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus

from image_share_operator.api.credentials import Identity, RefusedLogin
from image_share_operator.api.jobs import FailureClass, JobReport, RetryGroup
from image_share_operator.api.types import Decision, Membership
from image_share_operator.cloud.coalescing.batcher import Batcher
from image_share_operator.cloud.coalescing.job_poller import JobPoller
from image_share_operator.cloud.coalescing.membership_lookup import MembershipLookup
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of_batch
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.tokens import TokenSource
from image_share_operator.cloud.ims.client import ImsClient

MAX_IDENTITIES = 5_000
"""A token is some kilobytes; what was not used for longest is logged in again, unless its guard
knows better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How objects share batches.

    Attributes:
        window: how long the first one waits for others.
        images: in one PUT at most.
    """

    window: timedelta
    images: int


class Sessions:
    """All identities in use."""

    def __init__(
        self,
        caller: CloudHttpClient,
        now: Callable[[], datetime],
        sharing: BatchSettings,
        *,
        most: int = MAX_IDENTITIES,
    ) -> None:
        self._caller = caller
        self._now = now
        self._sharing = sharing
        self._most = most
        self._guards = LoginGuards(now, most)
        self._known: OrderedDict[Identity, CloudSession] = OrderedDict()

    def oldest_token_s(self) -> float:
        """Age of the oldest token in use, in seconds."""
        now = self._now()
        return max((session.tokens.age_s(now) for session in self._known.values()), default=0.0)

    def session(self, identity: Identity) -> "CloudSession":
        """The one `Tenant` of this identity."""
        session = self._known.get(identity)
        if session is None:
            caller = replace(self._caller.trusting(identity.ca), flow=identity.namespace)
            tokens = TokenSource(identity, caller, self._now, self._guards)
            throttle = Throttle(self._now)
            ims = ImsClient(identity=identity, caller=caller, tokens=tokens, throttle=throttle)
            session = CloudSession(ims, self._sharing)
            self._known[identity] = session
        self._known.move_to_end(identity)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return session

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        """Take note of what an earlier process found out about these credentials."""
        self._guards.of(identity).note_refused_login(identity, refused_login)


class CloudSession:
    """What passes ask of the cloud under one identity: many of them share one call."""

    def __init__(self, ims: ImsClient, sharing: BatchSettings) -> None:
        self.tokens = ims.tokens
        self._batches = Batcher(ims.update_members, window=sharing.window, most=sharing.images)
        self._jobs = JobPoller(ims.job)
        self._shares = MembershipLookup(ims)

    @property
    def typical_duration(self) -> timedelta:
        """How long the quicker ones of the latest jobs took."""
        return self._jobs.typical_duration

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        """Send the images, all in one batch, perhaps with those of others; return its job's id."""
        return await self._batches.submit(decision, vault_id, images, retry_group)

    async def job(self, job_id: str) -> JobReport:
        """Ask for a job."""
        return self._batches.told(job_id, await self._jobs.report(job_id))

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership]:
        """Look at the memberships of all ``images``, not older than ``max_age``."""
        return await self._shares.look(images, max_age)


def classify_failure(error_code: str | None) -> FailureClass:
    """Judge the error code of a failed job.

    An unknown code may mean anything: a smaller batch is tried, the same one is not.
    """
    kind = kind_of_batch(HTTPStatus.BAD_REQUEST, error_code)
    return FailureClass(
        retryable=kind in (RefusalKind.RETRY, RefusalKind.THROTTLED),
        divisible=kind in (RefusalKind.RETRY, RefusalKind.IMAGES),
    )
