"""The resource as frozen types: parsing happens here and only here. No I/O, no clock.

`status_json.py` turns the status types to and from JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self, TypeVar

from image_share_operator.api import fields
from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.selector import ImageSelector

GROUP = "ims.otc.dev"
VERSION = "v1alpha1"
PLURAL = "imageshareacceptances"
KIND = "ImageShareAcceptance"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/reject"
RECONCILE_AT = f"{GROUP}/reconcile-at"
"""Annotation: any new value requests a reconcile now."""
SKIP_REJECT = f"{GROUP}/skip-reject"
"""Annotation: "true" allows the deletion of a resource without rejecting its shares."""

DEFAULT_TIMEOUT = timedelta(minutes=10)
DEFAULT_INTERVAL = timedelta(hours=1)


class Membership(StrEnum):
    """The membership of one project in one image, as the cloud returns it."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_SHARED = "notShared"
    """The image is not shared with the project."""
    UNKNOWN = "unknown"
    """Not read yet."""


class Decision(StrEnum):
    """What the recipient does with a share."""

    ACCEPT = "Accept"
    REJECT = "Reject"

    @property
    def wanted(self) -> Membership:
        """The membership that this decision leads to."""
        return Membership.ACCEPTED if self is Decision.ACCEPT else Membership.REJECTED

    @property
    def opposite(self) -> "Decision":
        """The other decision."""
        return Decision.REJECT if self is Decision.ACCEPT else Decision.ACCEPT


class DeletionPolicy(StrEnum):
    """What happens to the shares when the resource is deleted."""

    RETAIN = "Retain"
    """They stay as they are."""
    REJECT = "Reject"
    """They are rejected first; a finalizer keeps the resource until then."""


class RemovalPolicy(StrEnum):
    """What happens to an image that this resource accepted and that it no longer selects."""

    RETAIN = "Retain"
    """It stays accepted."""
    REJECT = "Reject"
    """It is rejected."""


class SelectionVerdict(StrEnum):
    """What a selector decided about an image that it matches, as in `status.images`."""

    SELECTED = "Selected"
    SUPERSEDED = "Superseded"
    """Newer images of its group are selected instead."""
    TOO_YOUNG = "TooYoung"
    """It is younger than `minAge`, or has no time of creation."""
    EXCLUDED = "Excluded"
    OVER_LIMIT = "OverLimit"
    """More images match than `limit` allows; nothing new is submitted."""
    INACTIVE = "Inactive"
    """The image can't be used now: its owner deactivated it, for example."""
    REMOVED = "Removed"
    """It was in `spec.images` before, and is rejected."""


class JobState(StrEnum):
    """The states of the IMS job API ("Querying Job Status")."""

    INIT = "INIT"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAIL = "FAIL"

    @property
    def settled(self) -> bool:
        """Whether the state is final."""
        return self in (JobState.SUCCESS, JobState.FAIL)


class ConditionType(StrEnum):
    """The three kstatus condition types. Stalled and Reconciling are absent when not True."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Namespace and name of one object; as text `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Base URLs without a trailing slash and without a version."""

    iam: str
    ims: str

    @property
    def urls(self) -> Mapping[str, str]:
        """The URLs to which a secret is sent, by the field of the spec."""
        return {"spec.endpoints.iam": self.iam, "spec.endpoints.ims": self.ims}


class Interface(StrEnum):
    """Who an endpoint of a service catalog is for."""

    PUBLIC = "public"
    INTERNAL = "internal"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStack:
    """A cloud with Keystone and Glance. URLs have no trailing slash and no version.

    Attributes:
        auth_url: of Keystone.
        region: of the image endpoint; ``None`` where the service catalog has one region only.
        interface: of the image endpoint.
        image_endpoint: of Glance; ``None`` takes it from the service catalog.
    """

    auth_url: str
    region: str | None = None
    interface: Interface = Interface.PUBLIC
    image_endpoint: str | None = None

    @property
    def iam(self) -> str:
        """Where logins are sent, as in `Endpoints`."""
        return self.auth_url

    @property
    def ims(self) -> str:
        """Where requests about images are sent, as in `Endpoints`, if the spec has it."""
        return self.image_endpoint or self.auth_url

    @property
    def urls(self) -> Mapping[str, str]:
        """The URLs to which a secret is sent, by the field of the spec."""
        urls = {"spec.openstack.authURL": self.auth_url}
        if self.image_endpoint is not None:
            urls["spec.openstack.imageEndpoint"] = self.image_endpoint
        return urls


Cloud = Endpoints | OpenStack
"""Where the requests of a resource are sent."""

REGIONS = {
    region: Endpoints(
        iam=f"https://iam.{region}.otc.t-systems.com",
        ims=f"https://ims.{region}.otc.t-systems.com",
    )
    for region in ("eu-de", "eu-nl")
}
"""The regions whose two endpoints are documented ("Regions and Endpoints"). Others need
`spec.endpoints`: the Swiss hosts, for example, do not follow the pattern."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRef:
    """A Secret in the namespace of the resource, which has the credentials."""

    name: str

    def __str__(self) -> str:
        """For messages: "Secret NAME"."""
        return f"Secret {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountRef:
    """A ServiceAccount in the namespace of the resource, whose tokens IAM exchanges for its own.

    Attributes:
        identity_provider: its ID in IAM.
        audience: of the tokens; the identity provider accepts no others.
    """

    name: str
    identity_provider: str
    audience: str

    def __str__(self) -> str:
        """For messages: "ServiceAccount NAME"."""
        return f"ServiceAccount {self.name}"


CredentialsRef = SecretRef | ServiceAccountRef
"""Where the credentials come from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """The delegation by which a user of one account acts for another account.

    Attributes:
        domain_name: of the account that owns the agency; either this or ``domain_id``.
    """

    name: str
    domain_name: str | None = None
    domain_id: str | None = None

    def __str__(self) -> str:
        """For messages: "agency NAME of account DOMAIN"."""
        return f"agency {self.name} of account {self.domain_name or self.domain_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state: one spec, parsed.

    Attributes:
        images: canonical lower-case UUIDs, without duplicates, in the order of the spec; none for a
            spec with a selector.
        selector: which images are selected; ``None`` for a spec that lists them.
        dry_run: whether the status reports what would be submitted, and nothing is submitted.
        interval: between two drift checks; zero turns them off.
        timeout: the longest wait for one job.
        being_deleted: whether the resource is being deleted and its shares are rejected first.
        agency: what the operator assumes after the login; ``None`` when it does not.
    """

    generation: int
    images: tuple[str, ...]
    project_id: str
    decision: Decision
    vault_id: str | None
    credentials: CredentialsRef
    endpoints: Cloud
    timeout: timedelta = DEFAULT_TIMEOUT
    interval: timedelta = DEFAULT_INTERVAL
    suspend: bool = False
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    selector: ImageSelector | None = None
    removal_policy: RemovalPolicy = RemovalPolicy.RETAIN
    dry_run: bool = False
    being_deleted: bool = False
    agency: Agency | None = None

    @property
    def acting_as(self) -> str | None:
        """On whose behalf the operator acts; ``None`` for the user of the Secret."""
        if self.agency is not None:
            return str(self.agency)
        match self.credentials:
            case SecretRef():
                return None
            case ServiceAccountRef(identity_provider=provider):
                return f"{self.credentials} by identity provider {provider}"

    @classmethod
    def parse(cls, spec: Mapping[str, Any], generation: int) -> Self:
        """Parse a spec that the API server accepted.

        Raises:
            InvalidSpecError: a field is missing or can't be served; the message names it.
        """
        selector = _selector(spec)
        return cls(
            generation=generation,
            images=() if selector else tuple(dict.fromkeys(fields.texts(spec, "images"))),
            project_id=fields.text(spec, "projectID"),
            decision=_decision(spec),
            vault_id=fields.optional_text(spec, "vaultID"),
            credentials=_credentials(spec),
            endpoints=_endpoints(spec),
            timeout=fields.duration(spec, "timeout", DEFAULT_TIMEOUT),
            interval=fields.duration(spec, "interval", DEFAULT_INTERVAL),
            suspend=spec.get("suspend") is True,
            deletion_policy=_policy(spec, "deletionPolicy", DeletionPolicy.RETAIN),
            selector=selector,
            removal_policy=_policy(spec, "removalPolicy", RemovalPolicy.RETAIN),
            dry_run=spec.get("dryRun") is True,
            agency=_agency(spec),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch job, as in `status.job`.

    Attributes:
        generation: the generation of the spec that the job was sent for.
        decision: what the job was asked to set.
        submitted_at: aware UTC, by this operator's clock.
        begin_time: as the cloud returned it, not parsed (three formats are known).
        end_time: as ``begin_time``.
        odd_status: the status word when it is none of `JobState`; such a job counts as running.
    """

    id: str
    generation: int
    decision: Decision
    state: JobState
    submitted_at: datetime
    type: str | None = None
    begin_time: str | None = None
    end_time: str | None = None
    error_code: str | None = None
    fail_reason: str | None = None
    odd_status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InDoubtBatch:
    """A batch that was sent without a response: it may have taken effect or not.

    Attributes:
        images: the images of the batch whose outcome is still unknown; at least one.
        since: when the operator stopped waiting for the response; aware UTC, by its own clock.
        until: until then the memberships are checked and nothing is sent.
    """

    decision: Decision
    images: tuple[str, ...]
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageDetails:
    """What a list of shares has about an image; each text is one line that is safe to print."""

    name: str | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """An image that another project shares with the project, from a list of shares.

    Attributes:
        owner: ID of the project that shares it.
        name: one line that is safe to print; ``None`` when the cloud returned none.
        created_at: of the image, aware UTC; ``None`` when the cloud returned none.
        status: of the image, such as ``active``; ``None`` when the cloud returned none.
        os_type: as IMS has it; ``None`` when the cloud returned none.
        full_server: whether the cloud reports a full-server image, which needs a vault.
    """

    id: str
    membership: Membership
    owner: str
    name: str | None = None
    created_at: datetime | None = None
    status: str | None = None
    os_type: str | None = None
    full_server: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestImage:
    """One row of `status.latest`: the newest image of a group that was seen accepted and active.

    Attributes:
        group: the text that `groupBy` captured; empty without `groupBy`.
        since: when it became the latest one.
        previous_id: the latest one before; ``None`` for the first one.
    """

    group: str
    id: str
    name: str | None
    owner: str
    created_at: datetime | None
    since: datetime
    previous_id: str | None = None


NO_JOB = ""
"""The job of an image whose membership this resource set in a cloud without jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatus:
    """One row of `status.images`.

    Attributes:
        name: as the owner named the image; ``None`` when no list was read.
        owner: ID of the project that shares the image; ``None`` when no list was read.
        job_id: the latest job that carried this image, or `NO_JOB`; ``None`` when this resource did
            not set the membership.
        message: why the image failed or what it waits for; ``None`` for nothing to report.
        created_at: of the image; ``None`` when no list was read.
        selection: what the selector decided; ``None`` for a resource that lists images.
    """

    id: str
    membership: Membership
    job_id: str | None = None
    message: str | None = None
    name: str | None = None
    owner: str | None = None
    created_at: datetime | None = None
    selection: SelectionVerdict | None = None

    @property
    def accepted_by_us(self) -> bool:
        """Whether this resource accepted the image."""
        return self.membership is Membership.ACCEPTED and self.job_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One row of `status.conditions`. ``status`` is True, False or Unknown as Kubernetes spells."""

    type: ConditionType
    status: str
    reason: Reason
    message: str
    observed_generation: int
    last_transition_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All of `.status`. A new object has observedGeneration -1.

    Attributes:
        unanswered: the batch with unknown outcome; ``None`` in most cases.
        latest: by group; none for a resource that lists images.
        selected: number of selected images; ``None`` for a resource that lists images.
        handled_reconcile_at: the last value of the reconcile-at annotation that was handled.
        secret_version: resourceVersion of the Secret that can't be used; empty when there is no
            Secret or ServiceAccount; ``None`` when the credentials are not the problem.
        credentials_accepted_by: the endpoints that accepted the credentials for the project;
            ``None`` before, and after they refused them.
        acting_as: on whose behalf the operator acts there; ``None`` for the user of the Secret.
    """

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()
    job: Job | None = None
    unanswered: InDoubtBatch | None = None
    images: tuple[ImageStatus, ...] = ()
    latest: tuple[LatestImage, ...] = ()
    selected: int | None = None
    summary: str | None = None
    handled_reconcile_at: str | None = None
    secret_version: str | None = None
    credentials_accepted_by: Cloud | None = None
    acting_as: str | None = None

    def condition(self, kind: ConditionType) -> Condition | None:
        """The condition of this type, or ``None`` when it is absent."""
        for row in self.conditions:  # a generator would cost four times as much
            if row.type is kind:
                return row
        return None


def _decision(spec: Mapping[str, Any]) -> Decision:
    word = spec.get("decision", Decision.ACCEPT)
    try:
        return Decision(word)
    except ValueError:
        raise InvalidSpecError(f"spec.decision {word!r} is neither Accept nor Reject") from None


def _credentials(spec: Mapping[str, Any]) -> CredentialsRef:
    if spec.get("serviceAccount") is None:
        return SecretRef(name=fields.text(fields.mapping(spec, "credentialsSecretRef"), "name"))
    if spec.get("credentialsSecretRef") is not None:
        raise InvalidSpecError(
            "spec.credentialsSecretRef and spec.serviceAccount are mutually exclusive; remove one "
            "of them"
        )
    if spec.get("region") is None:
        raise InvalidSpecError(
            "spec.serviceAccount requires spec.region: its tokens are not sent to other endpoints"
        )
    account = fields.mapping(spec, "serviceAccount")
    return ServiceAccountRef(
        name=fields.text(account, "name"),
        identity_provider=fields.text(account, "identityProvider"),
        audience=fields.text(account, "audience"),
    )


def _agency(spec: Mapping[str, Any]) -> Agency | None:
    if spec.get("agency") is None:
        return None
    agency = fields.mapping(spec, "agency")
    name, id_ = fields.optional_text(agency, "domainName"), fields.optional_text(agency, "domainID")
    if (name is None) == (id_ is None):
        raise InvalidSpecError(
            "spec.agency: exactly one of domainName and domainID is required; set it to the "
            "account that owns the agency"
        )
    return Agency(name=fields.text(agency, "name"), domain_name=name, domain_id=id_)


def _endpoints(spec: Mapping[str, Any]) -> Cloud:
    region = fields.optional_text(spec, "region")
    if region is None and spec.get("openstack") is not None:
        return _openstack(fields.mapping(spec, "openstack"))
    if region is None:
        both = fields.mapping(spec, "endpoints")
        return Endpoints(iam=_url(both, "iam"), ims=_url(both, "ims"))
    if region not in REGIONS:
        known = ", ".join(REGIONS)
        raise InvalidSpecError(
            f"spec.region {region!r} is not known. Use one of {known}, or set spec.endpoints."
        )
    return REGIONS[region]


def _openstack(openstack: Mapping[str, Any]) -> OpenStack:
    word = openstack.get("interface", Interface.PUBLIC)
    try:
        interface = Interface(word)
    except ValueError:
        raise InvalidSpecError(
            f"spec.openstack.interface {word!r} is not one of {', '.join(Interface)}"
        ) from None
    image_endpoint = None
    if openstack.get("imageEndpoint") is not None:
        image_endpoint = _path_url(openstack, "imageEndpoint")
    return OpenStack(
        auth_url=_path_url(openstack, "authURL"),
        region=fields.optional_text(openstack, "region"),
        interface=interface,
        image_endpoint=image_endpoint,
    )


def _path_url(openstack: Mapping[str, Any], field: str) -> str:
    """A URL without the version at its end: the client adds the one that it uses."""
    text = fields.text(openstack, field)
    if not fields.is_path_url(text):
        raise InvalidSpecError(
            f"spec.openstack.{field} must be https://HOST[:PORT][/PATH], without user and query"
        )
    scheme, _, rest = fields.without_version(text).partition("://")
    host, slash, path = rest.partition("/")
    host = host.lower().removesuffix(":443") if scheme == "https" else host.lower()
    return f"{scheme}://{host}{slash}{path}"


def _url(endpoints: Mapping[str, Any], field: str) -> str:
    text = fields.text(endpoints, field)
    if not fields.is_base_url(text):
        raise InvalidSpecError(
            f"spec.endpoints.{field} must be https://HOST or https://HOST:PORT, without user, "
            "path, query or version"
        )
    url = text.rstrip("/").lower()  # only scheme and host: one endpoint has one spelling
    return url.removesuffix(":443") if url.startswith("https:") else url


def _selector(spec: Mapping[str, Any]) -> ImageSelector | None:
    listed, selected = "images" in spec, "imageSelectorTerms" in spec
    if listed and selected:
        raise InvalidSpecError(
            "spec.images and spec.imageSelectorTerms are mutually exclusive. Remove one of them."
        )
    if not listed and not selected:
        raise InvalidSpecError("Set spec.images or spec.imageSelectorTerms.")
    return ImageSelector.parse(spec)


_Policy = TypeVar("_Policy", DeletionPolicy, RemovalPolicy)


def _policy(spec: Mapping[str, Any], field: str, default: _Policy) -> _Policy:
    word = spec.get(field, default)
    try:
        return type(default)(word)
    except ValueError:
        raise InvalidSpecError(f"spec.{field} {word!r} is neither Retain nor Reject") from None
