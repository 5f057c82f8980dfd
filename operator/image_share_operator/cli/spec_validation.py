"""Validates a manifest with the same verdict as the API server. No I/O.

This module implements the schema and the CEL rules of the CRD for commands without a cluster, and
the rules for metadata. `tests/e2e/test_crd_validation.py` and `tests/e2e/test_check_verdict.py`
test both. It returns all errors, whereas `api.Desired.parse` stops at the first error.

A field that is null counts as absent, as in the API server; an item of a list may not be null.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from image_share_operator.api import patterns
from image_share_operator.api.fields import is_base_url, is_path_url, parse_duration
from image_share_operator.api.selector import OsType
from image_share_operator.api.types import (
    API_VERSION,
    REGIONS,
    Decision,
    DeletionPolicy,
    Interface,
    RemovalPolicy,
)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_OTC_PROJECT = re.compile(r"[0-9a-f]{32}")
_PROJECT = re.compile(rf"{_OTC_PROJECT.pattern}|{_UUID.pattern}")
"""Also of the owner of an image."""
_GLOB = re.compile(r"[^\[\]\\]*")
_TWO_GROUPS = re.compile(
    r"((([^\\[(?]|\\[^Q]|\[\^?([^\]\\[^]|\\.)([^\]\\[]|\\.)*\]|[(][?][^P<])[?]*)*[(]([?]P?<)?){2}[^?]"
)
"""As in the CRD, which explains it."""
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = re.compile(rf"{_LABEL}([.]{_LABEL})*")
"""Names of objects (RFC 1123)."""
NAMESPACE = re.compile(_LABEL)
_VAULT = re.compile(r"[!-~]*")
_PROVIDER = re.compile(r"[0-9A-Za-z_-]*")
_PRINTABLE = re.compile(r"[!-~]([ -~]*[!-~])?")
_DURATION = re.compile(r"([0-9]{1,6}([.][0-9]{1,3})?[hms])+")
_DAY = timedelta(hours=24)
_YEAR = timedelta(days=365)
MAX_IMAGES = 500
MAX_TERMS = 16

NOT_AN_IMAGE = (
    "must be an image ID, which is a UUID in lower case such as "
    "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90; use the ID of the image, not its name"
)
NOT_A_PROJECT = (
    "must be a project ID, which is 32 lower-case hexadecimal digits; use the ID of the project, "
    "not its name"
)
NOT_AN_OWNER = (
    "must be the ID of the project that shares the images, which is 32 lower-case hexadecimal "
    "digits or a UUID with dashes; use the ID of the project, not its name"
)
NOT_A_GLOB = (
    "must be a pattern in which * matches any text and ? matches one character; remove brackets "
    "and backslashes"
)
NOT_A_REGEX = "must be a regular expression in RE2 syntax"
TWO_GROUPS = "must have up to one capture group; use (?:...) for the other groups"
NOT_A_SECRET = (
    "must be the name of a Secret in the same namespace; use lower-case letters, digits, '-' "  # noqa: S105 - a message
    "and '.', and start and end with a letter or digit"
)
NOT_A_REGION = (
    "must be eu-de or eu-nl; for another region, omit region and set endpoints.iam and "
    "endpoints.ims"
)
NOT_A_VAULT = (
    "must contain only printable ASCII characters without spaces; use the ID of the vault, not "
    "its name"
)
NOT_A_URL = (
    "must have the form https://HOST or https://HOST:PORT with a valid host and port; remove "
    "user, path, query and version"
)
NOT_A_PATH_URL = (
    "must have the form https://HOST[:PORT][/PATH] with a valid host and port; remove user and "
    "query"
)
NOT_A_TIMEOUT = (
    "must be a duration from 30s to 24h with the units h, m and s, such as 45s, 10m or 1h30m"
)
NOT_AN_INTERVAL = (
    "must be a duration from 1m to 24h with the units h, m and s, such as 5m or 1h30m; use 0s to "
    "disable drift checks"
)
NOT_AN_AGE = "must be a duration from 0s to 8760h with the units h, m and s, such as 24h or 1h30m"

NOT_A_SERVICE_ACCOUNT = (
    "must be the name of a ServiceAccount in the same namespace; use lower-case letters, digits, "
    "'-' and '.', and start and end with a letter or digit"
)
NOT_A_PROVIDER = "must be the ID of an identity provider in IAM; use letters, digits, '-' and '_'"
NOT_AN_AUDIENCE = "must contain only printable ASCII characters without spaces"
NOT_PRINTABLE = "must contain only printable ASCII characters, and no space at the start or end"
NOT_AN_ACCOUNT = (
    "must be an account ID, which is 32 lower-case hexadecimal digits; to use the name of the "
    "account, set domainName"
)

NOT_A_NAME = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character"
)
NOT_A_NAMESPACE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character"
)
NOT_A_LABEL = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character"
)
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
MAX_ANNOTATIONS = 256 * 1024
"""Bytes of all annotations of an object."""
_MAX_NAME = 253

Faults = Iterator[str]
Rule = Callable[[str, object], Faults]


def manifest_faults(document: Mapping[str, Any]) -> list[str]:
    """Return all errors for which kubectl or the API server would reject the resource."""
    found = [f'unknown field "{name}"' for name in document if name not in _ROOT]
    version = document.get("apiVersion")
    if version != API_VERSION:
        found.append(
            f"apiVersion: Unsupported value: {json.dumps(version)}: "
            f"supported values: {_shown(API_VERSION)}"
        )
    return [*found, *_metadata(document.get("metadata")), *faults(document.get("spec"))]


def faults(spec: object) -> list[str]:
    """Return all errors that the API server would report, in the order of the fields."""
    if spec is None:
        return ["spec: Required value"]
    return list(_object(_FIELDS, ("projectID",))("spec", spec)) or (
        list(_across(cast("Mapping[str, Any]", without_nulls(spec))))
    )


def without_nulls(value: object) -> object:
    """Return the value without the fields that are null, as the API server stores it."""
    if isinstance(value, list):
        return [without_nulls(inner) for inner in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    return {name: without_nulls(inner) for name, inner in fields.items() if inner is not None}


def _metadata(value: object) -> Faults:
    yield from _object(_METADATA, ())("metadata", {} if value is None else value)
    fields = cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
    if not fields.get("name") and not fields.get("generateName"):
        yield "metadata.name: Required value: name or generateName is required"


def _labels(path: str, value: object) -> Faults:
    yield from _map(path, value)
    for key, text in _texts(value):
        yield from _key_faults(path, key)
        if text and not _QUALIFIED.fullmatch(text):
            yield f"{path}: Invalid value: {_shown(text)}: a valid label {NOT_A_LABEL}"


def _annotations(path: str, value: object) -> Faults:
    yield from _map(path, value)
    for key, _ in _texts(value):
        yield from _key_faults(path, key.lower())
    if sum(len(key.encode()) + len(text.encode()) for key, text in _texts(value)) > MAX_ANNOTATIONS:
        yield f"{path}: Too long: may not be more than {MAX_ANNOTATIONS} bytes"


def _map(path: str, value: object) -> Faults:
    """Yield what is wrong with the types of a map of strings."""
    if not isinstance(value, dict):
        yield _mistyped(path, value, "object")
        return
    for key, inner in cast("dict[str, object]", value).items():
        if inner is not None and not isinstance(inner, str):
            yield _mistyped(f"{path}.{key}", inner, "string")


def _texts(value: object) -> list[tuple[str, str]]:
    """Return the items of a map of strings; null is the empty string, as in the API server."""
    rows = cast("dict[str, object]", value).items() if isinstance(value, dict) else ()
    texts = ((key, "" if inner is None else inner) for key, inner in rows)
    return [(key, text) for key, text in texts if isinstance(text, str)]


def _key_faults(path: str, key: str) -> Faults:
    """Yield what is wrong with the key of a label: ``PREFIX/NAME`` or ``NAME``."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_NAME or not SUBDOMAIN.fullmatch(prefix)):
        yield f"{path}: Invalid value: {_shown(key)}: prefix part {NOT_A_NAME}"
    if not _QUALIFIED.fullmatch(name):
        yield f"{path}: Invalid value: {_shown(key)}: name part {NOT_A_LABEL}"


def _across(spec: Mapping[str, Any]) -> Faults:
    """Apply the rules for several fields. Runs only if each field is valid."""
    if not {"region", "endpoints", "openstack"} & spec.keys():
        yield (
            "spec.region: Required value: region, endpoints or openstack is required; set region "
            "to eu-de or eu-nl, or set both endpoints.iam and endpoints.ims, or set "
            "openstack.authURL"
        )
    if "region" in spec and "endpoints" in spec:
        yield (
            "spec.endpoints: Forbidden: region and endpoints are mutually exclusive, because the "
            "region determines the endpoints; remove one of them"
        )
    if "openstack" in spec and {"region", "endpoints"} & spec.keys():
        yield (
            "spec.openstack: Forbidden: openstack and the fields region and endpoints are mutually "
            "exclusive, because they name different clouds; remove openstack, or remove the others"
        )
    if "openstack" in spec and "vaultID" in spec:
        yield (
            "spec.vaultID: Forbidden: vaultID is for full-server images of the Open Telekom Cloud; "
            "remove vaultID"
        )
    terms = spec.get("imageSelectorTerms") or ()
    if "openstack" in spec and any(term.get("fullServer") for term in terms):
        yield (
            "spec.imageSelectorTerms: Forbidden: fullServer is for images of the Open Telekom "
            "Cloud; remove fullServer"
        )
    if "openstack" not in spec and not _OTC_PROJECT.fullmatch(str(spec["projectID"])):
        yield (
            "spec.projectID: Invalid value: must be 32 lower-case hexadecimal digits without "
            "dashes; only a project of openstack may have a UUID with dashes"
        )
    if "vaultID" in spec and spec.get("decision", Decision.ACCEPT) != Decision.ACCEPT:
        yield (
            "spec.vaultID: Forbidden: vaultID is allowed only when decision is Accept; remove "
            "vaultID, or set decision to Accept"
        )
    yield from _across_images(spec)
    yield from _across_credentials(spec)
    if "agency" in spec and "openstack" in spec:
        yield "spec.agency: Forbidden: agency is for the Open Telekom Cloud; remove agency"
    yield from _across_agency(spec.get("agency"))


def _across_images(spec: Mapping[str, Any]) -> Faults:
    terms: list[dict[str, object]] | None = spec.get("imageSelectorTerms")
    if "images" not in spec and terms is None:
        yield (
            "spec.images: Required value: images or imageSelectorTerms is required; set images to "
            "a list of image IDs, or set imageSelectorTerms to select images by owner and name"
        )
    if "images" in spec and terms is not None:
        yield (
            "spec.imageSelectorTerms: Forbidden: images and imageSelectorTerms are mutually "
            "exclusive; remove one of them"
        )
    if "imageSelectionPolicy" in spec and terms is None:
        yield (
            "spec.imageSelectionPolicy: Forbidden: imageSelectionPolicy is allowed only with "
            "imageSelectorTerms; remove imageSelectionPolicy"
        )
    accepts = spec.get("decision", Decision.ACCEPT) == Decision.ACCEPT
    if accepts and "vaultID" not in spec and any(term.get("fullServer") for term in terms or ()):
        yield (
            "spec.vaultID: Required value: vaultID is required to accept full-server images; set "
            "vaultID, or remove fullServer from imageSelectorTerms"
        )
    if any(term["owner"] == spec["projectID"] for term in terms or ()):
        yield (
            'spec.imageSelectorTerms: Invalid value: "array": owner must be the project that '
            "shares the images, and it is the recipient project; set owner to the ID of the other "
            "project"
        )


def _across_credentials(spec: Mapping[str, Any]) -> Faults:
    if "credentialsSecretRef" not in spec and "serviceAccount" not in spec:
        yield (
            "spec.credentialsSecretRef: Required value: credentialsSecretRef or serviceAccount is "
            "required; set one of them"
        )
    if "serviceAccount" not in spec:
        return
    if "credentialsSecretRef" in spec:
        yield (
            "spec.serviceAccount: Forbidden: credentialsSecretRef and serviceAccount are mutually "
            "exclusive; remove one of them"
        )
    if "region" not in spec:
        yield (
            "spec.serviceAccount: Forbidden: serviceAccount requires region, because its tokens "
            "are not sent to other endpoints; set region, or use credentialsSecretRef"
        )


def _across_agency(agency: Mapping[str, Any] | None) -> Faults:
    if agency is None:
        return
    if "domainName" not in agency and "domainID" not in agency:
        yield (
            "spec.agency.domainName: Required value: domainName or domainID is required; set one "
            "of them to the account that owns the agency"
        )
    if "domainName" in agency and "domainID" in agency:
        yield (
            "spec.agency.domainID: Forbidden: domainName and domainID are mutually exclusive; "
            "remove one of them"
        )


def _object(rules: Mapping[str, Rule], required: tuple[str, ...]) -> Rule:
    def check(path: str, value: object) -> Faults:
        if not isinstance(value, dict):
            yield _mistyped(path, value, "object")
            return
        fields = cast("dict[str, object]", value)
        yield from (
            f"{path}.{name}: Required value" for name in required if fields.get(name) is None
        )
        for name, inner in fields.items():
            if name not in rules:
                yield f'unknown field "{path}.{name}"'
            elif inner is not None:
                yield from rules[name](f"{path}.{name}", inner)

    return check


def _text(fits: Callable[[str], object], message: str, *, most: int, least: int = 0) -> Rule:
    """Return a rule for a text with a length from ``least`` to ``most`` characters that fits."""

    def check(path: str, value: object) -> Faults:
        if not isinstance(value, str):
            yield _mistyped(path, value, "string")
        elif len(value) > most:
            # The API server counts characters, and its message says bytes.
            yield f"{path}: Too long: may not be more than {most} bytes"
        elif len(value) < least:
            yield (
                f"{path}: Invalid value: {_shown(value)}: {path} in body should be at least "
                f"{least} chars long"
            )
        elif not fits(value):
            yield f"{path}: Invalid value: {_shown(value)}: {message}"

    return check


def _one_of(*words: str) -> Rule:
    """Return a rule for a closed set of words."""

    def check(path: str, value: object) -> Faults:
        if not isinstance(value, str):
            yield _mistyped(path, value, "string")
        elif value not in words:
            known = ", ".join(map(_shown, words))
            yield f"{path}: Unsupported value: {_shown(value)}: supported values: {known}"

    return check


def _any(path: str, value: object) -> Faults:
    """Accept every value: the API server sets these fields itself."""
    del path, value
    yield from ()


def _flag(path: str, value: object) -> Faults:
    if not isinstance(value, bool):
        yield _mistyped(path, value, "boolean")


def _whole(least: int, most: int) -> Rule:
    """Return a rule for a whole number."""

    def check(path: str, value: object) -> Faults:
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1:
            yield _mistyped(path, value, "integer")
        elif value < least:
            yield _out_of_range(path, value, f"greater than or equal to {least}")
        elif value > most:
            yield _out_of_range(path, value, f"less than or equal to {most}")

    return check


def _out_of_range(path: str, value: float, wanted: str) -> str:
    return f"{path}: Invalid value: {json.dumps(value)}: {path} in body should be {wanted}"


def _list(item: Rule, *, most: int, least: int = 0, is_set: bool = False) -> Rule:
    """Return a rule for a list of items; a set has each of them once."""

    def check(path: str, value: object) -> Faults:
        if not isinstance(value, list):
            yield _mistyped(path, value, "array")
            return
        rows = cast("list[object]", value)
        if len(rows) < least:
            yield (
                f"{path}: Invalid value: {len(rows)}: {path} in body should have at least "
                f"{least} items"
            )
        if len(rows) > most:
            yield f"{path}: Too many: {len(rows)}: must have at most {most} items"
            return
        for index, row in enumerate(rows):
            yield from item(f"{path}[{index}]", row)
        if is_set:
            yield from _duplicates(path, rows)

    return check


def _group_by(path: str, value: object) -> Faults:
    """Yield what is wrong with a regular expression, also what CEL can't find."""
    found = list(_group_by_text(path, value))
    yield from found
    if isinstance(value, str) and not found:
        if r"\C" in value.replace(r"\\", ""):  # RE2 has it, and the API server has not
            yield f"{path}: Invalid value: {_shown(value)}: {NOT_A_REGEX} without \\C"
            return
        try:
            patterns.check_regex(value)
        except ValueError as exc:
            yield f"{path}: Invalid value: {_shown(value)}: {NOT_A_REGEX}: it {exc}"


def _duplicates(path: str, rows: Iterable[object]) -> Faults:
    seen: set[str] = set()
    for index, row in enumerate(rows):
        if isinstance(row, str) and row in seen:
            yield f"{path}[{index}]: Duplicate value: {_shown(row)}"
        elif isinstance(row, str):
            seen.add(row)


def _span(least: timedelta, most: timedelta = _DAY) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        return bool(_DURATION.fullmatch(text)) and least <= parse_duration(text) <= most

    return fits


def _mistyped(path: str, value: object, wanted: str) -> str:
    kind = _KINDS.get(type(value).__name__, "object")
    return f'{path}: Invalid value: "{kind}": {path} in body must be of type {wanted}: "{kind}"'


_KINDS = {
    "NoneType": "null",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "list": "array",
}


def _shown(value: str) -> str:
    return json.dumps(value)


_endpoint = _text(is_base_url, NOT_A_URL, most=512)
_path_url = _text(is_path_url, NOT_A_PATH_URL, most=512)
_OPENSTACK: dict[str, Rule] = {
    "authURL": _path_url,
    "region": _text(bool, "", most=255, least=1),
    "interface": _one_of(*Interface),
    "imageEndpoint": _path_url,
}
_SECRET_REF: dict[str, Rule] = {"name": _text(SUBDOMAIN.fullmatch, NOT_A_SECRET, most=253, least=1)}
_image = _text(_UUID.fullmatch, NOT_AN_IMAGE, most=64)
_group_by_text = _text(lambda text: not _TWO_GROUPS.match(text), TWO_GROUPS, most=128, least=1)
_TERM: dict[str, Rule] = {
    "owner": _text(_PROJECT.fullmatch, NOT_AN_OWNER, most=64),
    "name": _text(_GLOB.fullmatch, NOT_A_GLOB, most=128, least=1),
    "osType": _one_of(*OsType),
    "fullServer": _flag,
}
_POLICY: dict[str, Rule] = {
    "groupBy": _group_by,
    "newest": _whole(1, MAX_IMAGES),
    "minAge": _text(_span(timedelta(), _YEAR), NOT_AN_AGE, most=32),
    "exclude": _list(_image, most=MAX_IMAGES, is_set=True),
    "limit": _whole(1, MAX_IMAGES),
}
_SERVICE_ACCOUNT: dict[str, Rule] = {
    "name": _text(SUBDOMAIN.fullmatch, NOT_A_SERVICE_ACCOUNT, most=253, least=1),
    "identityProvider": _text(_PROVIDER.fullmatch, NOT_A_PROVIDER, most=64, least=1),
    "audience": _text(_VAULT.fullmatch, NOT_AN_AUDIENCE, most=255, least=1),
}
_PRINTABLE_64 = _text(_PRINTABLE.fullmatch, NOT_PRINTABLE, most=64, least=1)
_AGENCY: dict[str, Rule] = {
    "name": _PRINTABLE_64,
    "domainName": _PRINTABLE_64,
    "domainID": _text(_PROJECT.fullmatch, NOT_AN_ACCOUNT, most=64),
}
_FIELDS: dict[str, Rule] = {
    "images": _list(_image, most=MAX_IMAGES, least=1, is_set=True),
    "imageSelectorTerms": _list(_object(_TERM, ("owner",)), most=MAX_TERMS, least=1),
    "imageSelectionPolicy": _object(_POLICY, ()),
    "removalPolicy": _one_of(*RemovalPolicy),
    "dryRun": _flag,
    "projectID": _text(_PROJECT.fullmatch, NOT_A_PROJECT, most=64),
    "decision": _one_of(*Decision),
    "vaultID": _text(_VAULT.fullmatch, NOT_A_VAULT, most=64, least=1),
    "credentialsSecretRef": _object(_SECRET_REF, ("name",)),
    "serviceAccount": _object(_SERVICE_ACCOUNT, ("name", "identityProvider", "audience")),
    "agency": _object(_AGENCY, ("name",)),
    "region": _text(REGIONS.__contains__, NOT_A_REGION, most=64),
    "endpoints": _object({"iam": _endpoint, "ims": _endpoint}, ("iam", "ims")),
    "openstack": _object(_OPENSTACK, ("authURL",)),
    "timeout": _text(_span(timedelta(seconds=30)), NOT_A_TIMEOUT, most=32),
    "interval": _text(
        lambda text: text == "0s" or _span(timedelta(minutes=1))(text), NOT_AN_INTERVAL, most=32
    ),
    "deletionPolicy": _one_of(*DeletionPolicy),
    "suspend": _flag,
}
_ROOT = frozenset(("apiVersion", "kind", "metadata", "spec", "status"))
_METADATA: dict[str, Rule] = {
    "name": _text(lambda name: not name or SUBDOMAIN.fullmatch(name), NOT_A_NAME, most=_MAX_NAME),
    "generateName": _text(
        lambda name: not name or SUBDOMAIN.fullmatch(f"{name}x"), NOT_A_NAME, most=_MAX_NAME
    ),
    "namespace": _text(
        lambda name: not name or NAMESPACE.fullmatch(name), NOT_A_NAMESPACE, most=63
    ),
    "labels": _labels,
    "annotations": _annotations,
} | dict.fromkeys(
    (
        *("creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers"),
        *("generation", "managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid"),
    ),
    _any,
)
