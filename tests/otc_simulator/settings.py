"""What may be chosen about the simulated cloud, as data. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import get_type_hints

TOKEN_FLAVOURS = (
    "APIGW.0301",
    "APIGW.0307",
    "keystone",
    "html",
    "empty",
    "IMG.0087",
    "IMG.0030",
)
"""What a dead token may look like on IMS (reference, 7.5)."""

MIDDLEWARE = "glance"
"""The token flavour of a Glance behind Keystone's middleware: all its 401 look the same."""

SIGNING_FORMS = ("scoped", "plain", "both")
"""Which forms of signatures the cloud takes (reference, 1.7: B, A)."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "token_flavour": (*TOKEN_FLAVOURS, MIDDLEWARE, "cycle"),
    "iam_dead_token": ("IAM.0066", "IAM.0067", "403"),
    "signing_form": SIGNING_FORMS,
    "ended_key": ("IAM.1108", "APIGW.0301"),
    "show_token": ("200", "401", "403", "404", "503"),
    "domain_token": ("401", "403", "404"),
    "unknown_scope": ("404", "401", "IAM.1109"),
    "unknown_domain": ("401", "404"),
    "agency_field": ("both", "agency_name", "xrole_name"),
    "absent_scope": ("domain", "unscoped"),
    "no_role": ("token", "401"),
    "refused_user": ("IAM", "401"),
    "marker": ("listed", "visible"),
    "request_id_header": ("X-Request-Id", "X-Openstack-Request-Id"),
    "not_shared": ("job", "IMG.0027", "IMG.0086", "IMG.0144", "IMG.0106", "404"),
    "full_ecs": ("sync", "job"),
    "job_failure": ("A", "B", "C"),
    "unknown_job": ("IMG.0023", "404"),
    "foreign_job": ("IMG.0030", "403"),
    "foreign_project": ("IMG.0030", "IMG.0067"),
}


OPENSTACK: Mapping[str, object] = {
    "absent_scope": "unscoped",
    "application_credentials": True,
    "domain_token": "404",
    "imagetype_is_property": True,
    "marker": "visible",
    "no_role": "401",
    "refused_user": "401",
    "request_id_header": "X-Openstack-Request-Id",
    "token_cache_seconds": 300.0,
    "token_flavour": MIDDLEWARE,
    "unknown_scope": "401",
}
"""Makes the cloud answer as Keystone and Glance do, where IAM and IMS are documented to differ.

Each was seen on a real Keystone 30 and Glance 33. `openstack_cloud` has the same tests for them.
"""


class SettingsError(ValueError):
    """A setting that does not exist, or a value that it cannot have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    region: str = "eu-de"
    latency_seconds: float = 0.0
    request_id_header: str = "X-Request-Id"

    # IAM
    token_ttl_seconds: float = 86400.0
    """Negative: tokens are already past their ``expires_at`` when issued."""
    token_flavour: str = "APIGW.0301"
    iam_dead_token: str = "IAM.0066"
    show_token: str = "200"
    """How IAM answers who asks for a token; 403 and 404: it shows none."""
    domain_token: str = "401"
    """What IMS answers to a token without a project; 404: it sees no image that is shared."""
    unknown_scope: str = "404"
    unknown_domain: str = "401"
    """What a login with an account that does not exist is answered."""
    agency_field: str = "both"
    """Which field may name the agency; the other one is answered with 400 (reference, 1.6)."""
    absent_scope: str = "domain"
    """What a token without a scope is: for the account of the user, or for nothing."""
    no_role: str = "token"
    """A user without a right in the project: has a token that IMS refuses, or none."""
    refused_user: str = "IAM"
    """A disabled or locked user: has an error code of its own, or that of a wrong password."""
    application_credentials: bool = False
    """Whether they can log in. IAM has none."""
    token_cache_seconds: float = 0.0
    """How long IMS uses a token without asking IAM, also a revoked one; Glance: 300."""
    invalidation_seconds: float = 0.0
    """How long old tokens outlive a change of password or rights; the real cloud: up to 1800."""
    clock_skew_seconds: float = 0.0
    """Added to every time that is shown; positive: the cloud's clock is ahead of the client's."""
    lockout_attempts: int = 5
    lockout_window_seconds: float = 900.0
    lockout_seconds: float = 900.0

    # access keys
    signing_form: str = "both"
    key_lock_attempts: int = 5
    """More failures in a row than these lock a key."""
    key_lock_seconds: float = 300.0
    ended_key: str = "IAM.1108"
    """What a temporary key is answered that has ended."""

    # membership jobs
    job_seconds: float = 1.0
    not_shared: str = "job"
    full_ecs: str = "sync"
    job_failure: str = "B"
    """How a job with failed images is reported: partial A, B or C of the fault table."""
    unknown_job: str = "IMG.0023"
    foreign_job: str = "IMG.0030"
    foreign_project: str = "IMG.0030"
    job_retention_seconds: float | None = None
    result_project_id: bool = False
    max_batch: int | None = None

    # membership
    visibility_lag_seconds: float = 0.0
    """How long lists and member GETs show the status before the last change."""
    share_lag_seconds: float = 0.0
    """How long a new share is invisible."""
    imagetype_hides_pending: bool = False
    """``__imagetype=shared`` leaves out pending rows (reference, 10, number 12)."""
    imagetype_is_property: bool = False
    """``__imagetype`` is read as a property of images, which none has: the list is empty."""
    marker: str = "listed"
    """Which images may be a marker: those of the list, or all that the project sees."""
    ignores_owner: bool = False
    """Lists have the rows of all owners, whatever ``owner`` asks for."""
    max_limit: int = 1000


def changed(settings: Settings, changes: Mapping[str, object]) -> Settings:
    """Return ``settings`` with ``changes``; raises SettingsError naming the refused one."""
    hints = get_type_hints(Settings)
    for name, value in changes.items():
        if name not in hints:
            known = ", ".join(field.name for field in fields(Settings))
            raise SettingsError(f"no setting {name!r}; there are: {known}")
        hint = hints[name]
        fits = isinstance(value, hint) or (isinstance(value, int) and isinstance(0.0, hint))
        if not fits or (isinstance(value, bool) and hint is not bool):
            raise SettingsError(f"{name}={value!r}: not a {hint}")
        choices = CHOICES.get(name)
        if choices is not None and value not in choices:
            raise SettingsError(f"{name}={value!r}: not one of {', '.join(choices)}")
    return replace(settings, **changes)  # type: ignore[arg-type]  # checked above, name by name


def shown(settings: Settings) -> dict[str, object]:
    return asdict(settings)
