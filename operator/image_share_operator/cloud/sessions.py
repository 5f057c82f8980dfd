"""The sessions with the cloud: one for each identity, shared by all of its resources.

A session has the authorization, batches, job polls and membership lists of its identity.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus

from image_share_operator.api.credentials import GivenTokenEnd, Identity, RefusedLogin
from image_share_operator.api.jobs import FailureClass, JobReport, RetryGroup
from image_share_operator.api.types import Decision, OpenStack
from image_share_operator.cloud.coalescing.batcher import Batcher
from image_share_operator.cloud.coalescing.job_poller import JobPoller
from image_share_operator.cloud.coalescing.shared_reads import SharedReads
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of_batch
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.iam.authorization import authorization_of
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.logins import IdTokens, Logins, no_id_tokens
from image_share_operator.cloud.iam.signing import SigningForm
from image_share_operator.cloud.ims.client import ImsClient
from image_share_operator.cloud.openstack_session import OpenStackSession, open_glance

MAX_IDENTITIES = 5_000
"""Sessions that are kept: a token has some kilobytes. The least recently used one is dropped; its
identity logs in again when it is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How resources share batches.

    Attributes:
        window: how long a batch waits for other resources.
        images: the largest number of images in one batch.
    """

    window: timedelta
    images: int


class Sessions:
    """The sessions of all identities in use.

    Args:
        insecure: whether a service catalog may name an image endpoint without TLS.
    """

    def __init__(  # noqa: PLR0913 - the settings of all sessions
        self,
        http_client: CloudHttpClient,
        now: Callable[[], datetime],
        batching: BatchSettings,
        *,
        signing_form: SigningForm = SigningForm.SCOPED,
        max_identities: int = MAX_IDENTITIES,
        id_tokens: IdTokens = no_id_tokens,
        insecure: bool = False,
    ) -> None:
        self._http_client = http_client
        self._now = now
        self._batching = batching
        self._max_identities = max_identities
        self._insecure = insecure
        self._guards = LoginGuards(now, max_identities)
        self._logins = Logins(now, self._guards, id_tokens, signing_form=signing_form)
        self._known: OrderedDict[Identity, CloudSession | OpenStackSession] = OrderedDict()

    def oldest_token_s(self) -> float:
        """Age of the oldest token in use, in seconds."""
        now = self._now()
        return max(
            (session.authorization.age_s(now) for session in self._known.values()), default=0.0
        )

    def session(self, identity: Identity) -> "CloudSession | OpenStackSession":
        """Return the session of this identity; create it when there is none."""
        session = self._known.get(identity)
        if session is None:
            session = self._known[identity] = self._open(identity)
        self._known.move_to_end(identity)
        while len(self._known) > self._max_identities:
            self._known.popitem(last=False)
        return session

    def given_token_end(self, identity: Identity) -> GivenTokenEnd | None:
        """When the token of a Secret ends; ``None`` for other credentials, or when not known."""
        return self.session(identity).authorization.given_token_end

    def _open(self, identity: Identity) -> "CloudSession | OpenStackSession":
        http_client = replace(self._http_client.with_ca(identity.ca), flow=identity.namespace)
        if isinstance(identity.endpoints, OpenStack):
            glance = open_glance(
                identity, http_client, self._now, self._guards, insecure=self._insecure
            )
            return OpenStackSession(glance)
        ims = ImsClient(
            identity=identity,
            http_client=http_client,
            authorization=authorization_of(identity, http_client, self._logins),
            throttle=Throttle(self._now),
        )
        return CloudSession(ims, self._batching)

    def note_refused_login(self, identity: Identity, refused_login: RefusedLogin) -> None:
        """Record a refused login of these credentials from an earlier process."""
        self._guards.of(identity).note_refused_login(identity, refused_login)


class CloudSession(SharedReads):
    """The requests of one identity: many reconciles share one request."""

    def __init__(self, ims: ImsClient, batching: BatchSettings) -> None:
        super().__init__(ims)
        self.authorization = ims.authorization
        self._batches = Batcher(
            ims.update_members, window=batching.window, max_images=batching.images
        )
        self._jobs = JobPoller(ims.job)

    @property
    def typical_duration(self) -> timedelta:
        """How long recent jobs took to settle."""
        return self._jobs.typical_duration

    async def submit(
        self,
        decision: Decision,
        vault_id: str | None,
        images: tuple[str, ...],
        retry_group: RetryGroup | None,
    ) -> str:
        """Send the images in one batch, maybe with those of other resources; return the job ID."""
        return await self._batches.submit(decision, vault_id, images, retry_group)

    async def job(self, job_id: str) -> JobReport:
        """Poll a job."""
        return self._batches.add_peers(job_id, await self._jobs.report(job_id))


def classify_failure(error_code: str | None) -> FailureClass:
    """Classify the error code of a failed job.

    After an unknown code, a smaller batch is sent, but not the same one again.
    """
    kind = kind_of_batch(HTTPStatus.BAD_REQUEST, error_code.upper() if error_code else None)
    return FailureClass(
        retryable=kind in (RefusalKind.RETRY, RefusalKind.THROTTLED),
        divisible=kind in (RefusalKind.RETRY, RefusalKind.IMAGES),
    )
