"""What the schedule speaks about, as data. No I/O, no clock, no randomness."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

MARK = "Chaos7Mark"
"""Part of every password, token and access key that there is: what shows it shows a secret."""
LINE_CHARS = 8
"""Of an ID, which name the line of an image (see `chaos.golden`)."""
CREDENTIAL_REASONS = frozenset({"CredentialsInvalid", "SecretNotFound", "AccountLocked"})
"""Reasons that only another Secret ends."""


class SecretKind(StrEnum):
    """In which form a Secret holds its credentials."""

    PASSWORD = "password"
    CLOUDS_YAML = "clouds.yaml"
    TOKEN = "token"
    ACCESS_KEY = "access key"
    TEMPORARY_KEY = "temporary key"
    """An access key with a security token."""
    AGENCY = "agency"
    """A user of another account, who assumes an agency."""
    AGENCY_KEY = "access key for an agency"
    """The same, with an access key instead of a password."""
    SERVICE_ACCOUNT = "service account"
    """No Secret: tokens of a ServiceAccount with this name are exchanged. Only in a region."""


KEYS = frozenset({SecretKind.ACCESS_KEY, SecretKind.TEMPORARY_KEY, SecretKind.AGENCY_KEY})
"""Kinds that sign requests."""
ASSUMING = frozenset({SecretKind.AGENCY, SecretKind.AGENCY_KEY})
"""Kinds that assume an agency."""
ISSUED = frozenset({SecretKind.TOKEN, SecretKind.TEMPORARY_KEY})
"""Kinds whose credentials a user gets from the cloud, and gets again when they end."""
REGION, AUDIENCE = "eu-de", "image-shares.example.com"


class Content(StrEnum):
    """What is in a Secret."""

    GOOD = "good"
    WRONG_PASSWORD = "wrong password"
    UNKNOWN_USER = "unknown user"
    MISSING_KEY = "missing key"
    GARBAGE = "garbage"
    ABSENT = "absent"
    """There is no such Secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One Secret or ServiceAccount, and the one user whose credentials it holds.

    Attributes:
        user: name of the user; no two logins share one.
        domain: name of the account that has the projects.
        projects: that the user may answer for; a token is good for the first one only.
        password: the secret key, for an access key.
    """

    namespace: str
    name: str
    kind: SecretKind
    user: str
    user_id: str
    domain: str
    password: str
    projects: tuple[str, ...]

    @property
    def access_key(self) -> str:
        """The ID of the user's access key; the head of each ID, for temporary keys."""
        return f"AK{MARK}{self.user_id}"

    @property
    def home(self) -> str:
        """The account of the user in the Secret."""
        return f"agents-of-{self.domain}" if self.kind in ASSUMING else self.domain

    @property
    def agency(self) -> str | None:
        """The name of the agency that the user assumes."""
        return f"{self.user}-agency" if self.kind in ASSUMING else None

    @property
    def principal(self) -> str:
        """The name of the user that the requests to IMS come from, in the words of the cloud."""
        match self.kind:
            case SecretKind.AGENCY | SecretKind.AGENCY_KEY:
                return f"{self.domain}/{self.agency}"
            case SecretKind.SERVICE_ACCOUNT:
                return f"system:serviceaccount:{self.namespace}:{self.name}"
            case _:
                return self.user

    def manifest(self, url: str) -> Json:
        """What a spec says about the credentials and the cloud; ``url`` is the cloud's."""
        if self.kind is SecretKind.SERVICE_ACCOUNT:
            account = {
                "name": self.name,
                "identityProvider": provider_of(self.domain),
                "audience": AUDIENCE,
            }
            return {"serviceAccount": account, "region": REGION}
        told: Json = {
            "credentialsSecretRef": {"name": self.name},
            "endpoints": {"iam": url, "ims": url},
        }
        if self.agency is not None:
            told["agency"] = {"name": self.agency, "domainName": self.domain}
        return told


def provider_of(domain: str) -> str:
    """The ID of the account's identity provider."""
    return f"cluster-of-{domain}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Selects the newest images of each group of a line.

    Attributes:
        line: 8 hexadecimal digits, with which the IDs and names of its images begin.
    """

    line: str
    newest: int
    removal: str
    min_age_s: int = 0
    limit: int = 100
    exclude: tuple[str, ...] = ()

    @property
    def pattern(self) -> str:
        """The glob for names."""
        return f"{self.line}-*"

    def manifest(self, owner: str) -> Json:
        """Its fields of the spec."""
        return {
            "imageSelectorTerms": [{"owner": owner, "name": self.pattern}],
            "imageSelectionPolicy": {
                "groupBy": "^(.+)-[0-9]+$",
                "newest": self.newest,
                "minAge": f"{self.min_age_s}s",
                "limit": self.limit,
                "exclude": list(self.exclude),
            },
            "removalPolicy": self.removal,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One version of an object's spec, as far as chaos varies it.

    Attributes:
        images: that it lists; none with a selector.
    """

    images: tuple[str, ...]
    project: str
    secret: str
    decision: str = "Accept"
    deletion_policy: str = "Retain"
    suspend: bool = False
    dry_run: bool = False
    interval: str = "1m"
    timeout: str = "30s"
    selector: Selector | None = None

    @property
    def value(self) -> str:
        """The membership that it asks for."""
        return "accepted" if self.decision == "Accept" else "rejected"

    @property
    def submits(self) -> bool:
        """Whether the operator may send anything for it."""
        return not self.suspend and not self.dry_run

    @property
    def removes(self) -> bool:
        """Whether it may also ask for a rejection; `chaos.golden` checks each one."""
        return self.selector is not None and self.selector.removal == "Reject"

    def names(self, image: str) -> bool:
        """Whether it lists the image, or its selector may select it."""
        line = None if self.selector is None else self.selector.line
        return image in self.images or image[:LINE_CHARS] == line

    def manifest(self, access: Json, owner: str) -> Json:
        """The spec as users write it; ``access`` is what it says about credentials and cloud."""
        chosen = (
            {"images": list(self.images)}
            if self.selector is None
            else self.selector.manifest(owner)
        )
        return {
            **chosen,
            "projectID": self.project,
            "decision": self.decision,
            "deletionPolicy": self.deletion_policy,
            "suspend": self.suspend,
            "dryRun": self.dry_run,
            "interval": self.interval,
            "timeout": self.timeout,
            **access,
        }


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """An object by its place. No name is used twice."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Create:
    """A user creates an object.

    ``images`` are new to the cloud, with their first membership; ``None``: not shared (yet).
    """

    target: Target
    spec: Spec
    images: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Edit:
    """A user changes a spec."""

    target: Target
    spec: Spec
    images: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """A user deletes an object."""

    target: Target


@dataclass(frozen=True, slots=True)
class Rotate:
    """A user writes or deletes a Secret."""

    namespace: str
    secret: str
    content: Content


@dataclass(frozen=True, slots=True)
class Drift:
    """Another client sets a membership; an image that is not shared stays so."""

    image: str
    project: str
    value: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The owner ends a share."""

    image: str
    project: str


@dataclass(frozen=True, slots=True)
class Share:
    """The owner shares an image (again), unless it is shared."""

    image: str
    project: str


@dataclass(frozen=True, slots=True)
class Publish:
    """An owner shares an image.

    Attributes:
        age_s: since the image was built.
        foreign: whether another owner does, with a name of the same line.
    """

    image: str
    project: str
    line: str
    name: str
    age_s: float = 0.0
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """The owner renames an image."""

    image: str
    name: str


@dataclass(frozen=True, slots=True)
class Deactivate:
    """The owner deactivates an image."""

    image: str


@dataclass(frozen=True, slots=True)
class Reactivate:
    """The owner activates an image again."""

    image: str


@dataclass(frozen=True, slots=True)
class CloudFault:
    """One fault rule of the simulator, as its control API takes it."""

    kind: str
    rule: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClearFaults:
    """All fault rules end."""


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Settings of the simulator, such as lags."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExpireTokens:
    """All tokens die; a user who has one in a Secret writes a new one."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """The cloud takes connections and answers nothing, for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Offline:
    """The cloud refuses connections, for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """``kill -9`` of the operator (the leader, where there are two), and its restart."""


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM to the operator, and its restart."""


@dataclass(frozen=True, slots=True)
class RestartApiServer:
    """The API server ends and starts again; all watches break."""


Action = (
    Create
    | Edit
    | Delete
    | Rotate
    | Drift
    | Withdraw
    | Share
    | Publish
    | Rename
    | Deactivate
    | Reactivate
    | CloudFault
    | ClearFaults
    | CloudSettings
    | ExpireTokens
    | Freeze
    | Offline
    | Kill
    | Terminate
    | RestartApiServer
)


@dataclass(frozen=True, slots=True)
class Timed:
    """An action and when it is due, in seconds from the start."""

    at_s: float
    action: Action


SHORTEST_S = 75.0
"""Of chaos: long enough for each kind of fault to happen once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How much chaos.

    Attributes:
        seconds: for how long it lasts; settling comes after it.
        objects: that live at once, at most.
        edits_per_s: what users do to objects, on average.
        replicas: of the operator; 2 turn leader election on.
    """

    seconds: float = SHORTEST_S
    objects: int = 200
    edits_per_s: float = 4.0
    replicas: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """All that happens, in order.

    Attributes:
        pools: by project, images that several objects name; shared from the start.
        end: what is done after the faults ended, at once.
    """

    seed: int
    parameters: Parameters
    logins: tuple[Login, ...]
    pools: Mapping[str, tuple[str, ...]]
    actions: tuple[Timed, ...]
    end: tuple[Action, ...]
