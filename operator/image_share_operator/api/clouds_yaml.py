"""Credentials from a clouds.yaml, as the OpenStack client reads them. No I/O.

Only who logs in is taken from it: `auth` of one cloud. Endpoints and project come from the spec: a
Secret must not send credentials elsewhere.

Source: openstacksdk, "Configuring OpenStack SDK Applications" and `openstack.config.loader`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Final

from image_share_operator.api import bounded_yaml, placeholders
from image_share_operator.api.bounded_yaml import TENANT, Node, Typed, YamlLimits
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    Credentials,
    PasswordCredentials,
    access_key_credentials,
    token_credentials,
)

FILE: Final = "clouds.yaml"

MAX_VALUE_CHARS: Final = 4096
"""Limit of one value, except tokens. Keystone accepts passwords of up to 4096 characters."""
MAX_TOKEN_CHARS: Final = 32 * 1024
"""Limit of a token. A token of IAM has a few kilobytes; servers accept headers of up to 32 KiB."""
MAX_NAME_CHARS: Final = 64
"""Longer names of clouds are cut in messages."""

PASSWORD_TYPES: Final = ("password", "v3password")
TOKEN_TYPES: Final = ("token", "v3token")
APPLICATION_TYPES: Final = ("v3applicationcredential",)
ACCESS_KEY_TYPES: Final = ("aksk", "v3aksk")
"""Of gophertelekomcloud, the SDK of the Terraform provider; the OpenStack client has none."""
ACCESS_KEY_FIELDS: Final = (("access_key", "ak"), ("secret_key", "sk"), ("security_token",))
"""Names of the access key, the secret key and the security token in gophertelekomcloud (``ak``) and
python-otcextensions (both)."""
SUPPORTED_TYPES: Final = PASSWORD_TYPES + TOKEN_TYPES + APPLICATION_TYPES + ACCESS_KEY_TYPES
UNSUPPORTED_TYPES: Final[Mapping[str, str]] = {
    "v3multifactor": "; use an IAM user for programmatic access, without a second factor",
    "v3totp": "; use an IAM user for programmatic access, without a second factor",
    **dict.fromkeys(
        (
            "none",
            "admin_token",
            "http_basic",
            "v2password",
            "v2token",
            "v3adfspassword",
            "v3fedkerb",
            "v3kerberos",
            "v3oauth1",
            "v3oauth2clientcredential",
            "v3oauth2mtlsclientcredential",
            "v3oidcaccesstoken",
            "v3oidcauthcode",
            "v3oidcclientcredentials",
            "v3oidcdeviceauthz",
            "v3oidcpassword",
            "v3samlpassword",
            "v3tokenlessauth",
            "v3websso",
        ),
        "",
    ),
}
"""Values of ``auth_type`` in keystoneauth that are refused by name, with what to do instead."""

_OUTSIDE_WINS: Final = (
    "token",
    "auth_token",
    "domain_id",
    "domain_name",
    "user_domain_id",
    "user_domain_name",
)
"""Fields that the client prefers beside `auth` to those in it; for the others it is vice versa."""

_LITERAL: Final = frozenset(
    (*_OUTSIDE_WINS, "password", "username", "user_name", "user_id", "passcode")
)
"""Fields beside `auth` in which braces have no meaning."""
_FILLED: Final = frozenset(("region_name", "auth_type", "interface", "profile", "image_format"))
"""Names in braces that the client fills although the cloud has no such field."""
_SHOWN_KEY: Final = re.compile(r"[a-z]+(_[a-z0-9]+)+")
"""Other keys of the file are not shown in messages."""

Fields = Mapping[str, Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEntry:
    """One cloud of the file, with the values of one of its regions.

    Attributes:
        overrides: of the environment, by name in `auth`; they win, as in the OpenStack client.
    """

    name: str
    fields: Fields = field(repr=False)
    overrides: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    @property
    def shown(self) -> str:
        """The name for messages: one short line."""
        return "".join(char if char.isprintable() else "?" for char in self.name[:MAX_NAME_CHARS])

    def error(self, what: str) -> ValueError:
        """The error of this cloud."""
        return ValueError(f"{FILE}: {what}")

    def text(self, key: str, *, limit: int = MAX_VALUE_CHARS) -> str | None:
        """The text of a field in or beside `auth`; ``None`` when it is missing or empty.

        Raises:
            ValueError: it is not a string, too long, or still a placeholder.
        """
        own, auth = _get(self, self.fields, key, ""), _get(self, self._auth, key, "auth.")
        first, second = (own, auth) if key in _OUTSIDE_WINS else (auth, own)
        name, value = second if first[1] in (None, "") else first
        if key in self.overrides:
            name, value = f"OS_{key.upper()}", self.overrides[key]
        if value is None or value == "":
            return None
        what = f"{name} of cloud {self.shown}"
        if isinstance(value, Typed):
            raise self.error(f"{what} is not a string: quote it ({value.kind} in YAML)")
        if not isinstance(value, str):
            raise self.error(f"{what} is not a string")
        if len(value) > limit:
            raise self.error(f"{what} is longer than {limit} characters")
        placeholders.check(value, f"{FILE}: {what}")
        return value

    @property
    def _auth(self) -> Fields:
        auth = self.fields.get("auth")
        if auth is not None and not isinstance(auth, dict):
            raise self.error(f"auth of cloud {self.shown} is not a mapping")
        return auth or {}


def read(data: bytes, cloud: str | None) -> Credentials:
    """Read the credentials of one cloud of a file in a Secret.

    Args:
        cloud: its name; may be ``None`` when the file has one cloud only.

    Raises:
        ValueError: they can't be read; the message names the field, never a value.
    """
    clouds = clouds_of(parse(data, FILE))
    if cloud is None and len(clouds) > 1:
        raise ValueError(f"{FILE} has several clouds: name one in the key cloud")
    name = next(iter(clouds)) if cloud is None else cloud
    if name not in clouds:
        # The name is not shown: someone may have put a password into the key.
        raise ValueError(f"{FILE} has no cloud with the name in the key cloud")
    return credentials_of(regions_of(name, clouds[name]))


def parse(data: bytes, file: str, limits: YamlLimits = TENANT) -> Fields:
    """Parse a file; empty when it has no document.

    Raises:
        ValueError: it is not YAML, above a limit, or still encrypted.
    """
    document = bounded_yaml.read(data, file, limits)
    if isinstance(document, str):
        placeholders.check(document, file)
    if not isinstance(document, dict):
        return {}
    if "sops" in document and "clouds" not in document:
        raise ValueError(f"{file} is still encrypted (SOPS); decrypt it before it is applied")
    return document


def clouds_of(document: Fields) -> Fields:
    """The clouds of a file by name.

    Raises:
        ValueError: there are none.
    """
    clouds = document.get("clouds")
    if not isinstance(clouds, dict) or not clouds:
        raise ValueError(f"{FILE} has no clouds")
    return clouds


def regions_of(
    name: str, found: Node, overrides: Mapping[str, str] | None = None
) -> tuple[CloudEntry, ...]:
    """The cloud with the values of each of its regions; one cloud when it has no regions.

    Raises:
        ValueError: the cloud or a region is not a mapping.
    """
    fields = {} if found is None else found
    bare = CloudEntry(name=name, fields={}, overrides=overrides or {})
    if not isinstance(fields, dict):
        raise bare.error(f"cloud {bare.shown} is not a mapping")
    _refuse_urls(bare, fields)
    regions = fields.get("regions")
    if regions is not None and not isinstance(regions, list):
        raise bare.error(f"regions of cloud {bare.shown} is not a list")
    values = [_region_values(bare, region) for region in regions or ()]
    merged = [merge_cloud(fields, one) for one in values] or [fields]
    return tuple(CloudEntry(name=name, fields=one, overrides=overrides or {}) for one in merged)


def merge_cloud(below: Fields, above: Fields) -> dict[str, Node]:
    """Merge two layers of a cloud: fields of ``above`` win; `auth` is merged by field."""
    merged = {**below, **{key: value for key, value in above.items() if value is not None}}
    auths = [layer.get("auth") for layer in (below, above)]
    if all(isinstance(auth, dict) for auth in auths):
        merged["auth"] = {
            key: value for auth in auths if isinstance(auth, dict) for key, value in auth.items()
        }
    return merged


def credentials_of(clouds: Iterable[CloudEntry]) -> Credentials:
    """The credentials that all regions of a cloud have.

    Raises:
        ValueError: they can't be read, or a region has others.
    """
    first, *others = clouds
    found = _credentials(first)
    if any(_credentials(other) != found for other in others):
        raise first.error(
            f"the regions of cloud {first.shown} have different credentials; "
            "use one Secret for each region, without regions"
        )
    return found


def _credentials(cloud: CloudEntry) -> Credentials:
    _refuse_unfillable(cloud)
    _refuse_unverified(cloud)
    auth_type = cloud.text("auth_type") or cloud.text("auth_plugin")
    check_auth_type(auth_type, f"{FILE}: auth_type of cloud {cloud.shown}")
    if auth_type in APPLICATION_TYPES:
        return _application_credentials(cloud)
    token = cloud.text("token", limit=MAX_TOKEN_CHARS) or cloud.text(
        "auth_token", limit=MAX_TOKEN_CHARS
    )
    if token and auth_type not in PASSWORD_TYPES + ACCESS_KEY_TYPES:
        return token_credentials(token, f"{FILE}: auth.token of cloud {cloud.shown}")
    if auth_type in TOKEN_TYPES:
        raise cloud.error(f"cloud {cloud.shown} has auth_type {auth_type} and no auth.token")
    # A cloud with a user may have an access key for object storage: then the user logs in.
    if auth_type in ACCESS_KEY_TYPES or not (auth_type or cloud.text("password")):
        found = _access_key(cloud)
        if found is not None:
            return found
    if auth_type in ACCESS_KEY_TYPES:
        raise cloud.error(f"cloud {cloud.shown} has auth_type {auth_type} and no auth.ak")
    return _password_credentials(cloud)


def _access_key(cloud: CloudEntry) -> AccessKeyCredentials | None:
    """The access key of a cloud; ``None`` when it has none."""
    limits = (MAX_VALUE_CHARS, MAX_VALUE_CHARS, MAX_TOKEN_CHARS)
    names, values = list[str](), list[str | None]()
    for spellings, limit in zip(ACCESS_KEY_FIELDS, limits, strict=True):
        found = [(name, cloud.text(name, limit=limit)) for name in spellings]
        name, value = next((row for row in found if row[1] is not None), found[-1])
        names.append(f"{FILE}: auth.{name} of cloud {cloud.shown}")
        values.append(value)
    access_key, secret_key, security_token = values
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        missing = names[0] if access_key is None else names[1]
        raise ValueError(f"{missing} is missing: an access key needs auth.ak and auth.sk")
    return access_key_credentials(
        access_key, secret_key, security_token, names=(names[0], names[1], names[2])
    )


def _application_credentials(cloud: CloudEntry) -> ApplicationCredentials:
    values = {key: cloud.text(f"application_credential_{key}") for key in ("id", "secret")}
    if values["id"] is None or values["secret"] is None:
        raise cloud.error(
            f"cloud {cloud.shown} needs auth.application_credential_id and "
            "auth.application_credential_secret; a name without the ID is not supported"
        )
    return ApplicationCredentials(id=values["id"], secret=values["secret"])


def _password_credentials(cloud: CloudEntry) -> PasswordCredentials:
    password = cloud.text("password")
    if not password:
        if cloud.text("application_credential_id") or cloud.text("application_credential_secret"):
            raise cloud.error(
                f"cloud {cloud.shown} has an application credential; set auth_type to "
                "v3applicationcredential"
            )
        raise cloud.error(f"cloud {cloud.shown} has no auth.password, auth.token or auth.ak")
    user_id = cloud.text("user_id")
    if user_id:
        return PasswordCredentials(user_id=user_id, password=password)
    user_name = cloud.text("username") or cloud.text("user_name")
    domain_id, domain_name = domain_of(cloud.text)
    if not user_name or not (domain_id or domain_name):
        raise cloud.error(
            f"cloud {cloud.shown} needs auth.username and auth.user_domain_name or "
            "auth.user_domain_id, or auth.user_id"
        )
    return PasswordCredentials(
        user_name=user_name, password=password, domain_id=domain_id, domain_name=domain_name
    )


def domain_of(text: Callable[[str], str | None]) -> tuple[str | None, str | None]:
    """ID or name of the domain of the user; the ID comes first, as in keystoneauth.

    Args:
        text: returns the text of a field.
    """
    for prefix in ("user_domain", "domain", "default_domain"):
        domain_id = text(f"{prefix}_id")
        if domain_id:
            return domain_id, None
        domain_name = text(f"{prefix}_name")
        if domain_name:
            return None, domain_name
    return None, None


def check_auth_type(auth_type: str | None, name: str) -> None:
    """Check that the way to log in is supported.

    Args:
        name: of the field, for the message.

    Raises:
        ValueError: it is not supported; the message names it when it is a known one.
    """
    if auth_type is None or auth_type in SUPPORTED_TYPES:
        return
    named = f"{name}: {auth_type}" if auth_type in UNSUPPORTED_TYPES else name
    remedy = (
        UNSUPPORTED_TYPES.get(auth_type) or "; use password, token, v3applicationcredential or aksk"
    )
    raise ValueError(f"{named} is not supported{remedy}")


def _refuse_unfillable(cloud: CloudEntry) -> None:
    """Refuse texts with braces that the OpenStack client can't fill: it fails to read the cloud.

    The operator fills none: a text such as ``{x:>200000000}`` takes 200 MB.
    """
    known = _FILLED | {key.replace("-", "_") for key in cloud.fields}
    for key, value in cloud.fields.items():
        if not isinstance(value, str) or key.replace("-", "_") in _LITERAL:
            continue
        if not _fillable(value, known):
            shown = key if _SHOWN_KEY.fullmatch(key) else "a field"
            raise cloud.error(
                f"cloud {cloud.shown} can't be read: {shown} has braces that the OpenStack "
                "client can't fill; write the value out, or remove the field"
            )


def _fillable(text: str, known: Collection[str]) -> bool:
    """Whether all names in braces are known, without a format."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return False
    return all(name is None or (name in known and not spec) for _, name, spec, _ in parts)


def _refuse_unverified(cloud: CloudEntry) -> None:
    """Refuse a cloud whose TLS certificate should not be verified."""
    if _is(cloud.fields.get("verify"), "false", "no", "off"):
        setting = "verify: false"
    elif _is(cloud.fields.get("insecure"), "true", "yes", "on"):
        setting = "insecure: true"
    else:
        return
    raise cloud.error(
        f"{setting} of cloud {cloud.shown} is not supported; remove it, and trust a private "
        "certificate authority by ca.crt in the Secret or by cacert"
    )


def _is(value: Node, *texts: str) -> bool:
    text = value.text if isinstance(value, Typed) else value
    return isinstance(text, str) and text.lower() in texts


def _refuse_urls(cloud: CloudEntry, fields: Fields) -> None:
    for key in ("profile", "cloud"):
        profile = fields.get(key)
        if isinstance(profile, str) and "://" in profile:
            # The OpenStack client fetches it: a request to a host of the tenant's choice.
            raise cloud.error(f"{key} of cloud {cloud.shown} must not be a URL")


def _region_values(cloud: CloudEntry, region: Node) -> Fields:
    if isinstance(region, str | Typed):
        return {}
    values = region.get("values") if isinstance(region, dict) else None
    if not isinstance(region, dict) or not isinstance(values, dict | None):
        raise cloud.error(
            f"a region of cloud {cloud.shown} is neither a name nor a mapping of name and values"
        )
    return values or {}


def _get(cloud: CloudEntry, fields: Fields, key: str, prefix: str) -> tuple[str, Node]:
    """The name and the value of a field; the client reads ``user-id`` as ``user_id``."""
    spellings = [one for one in dict.fromkeys((key, key.replace("_", "-"))) if one in fields]
    if len(spellings) > 1:
        raise cloud.error(f"{prefix}{key} of cloud {cloud.shown} is there twice; keep one")
    return f"{prefix}{key}", fields[spellings[0]] if spellings else None
