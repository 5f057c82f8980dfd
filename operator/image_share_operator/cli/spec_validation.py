"""Validates a spec with the same messages as the API server. No I/O.

This module implements the schema and the CEL rules of the CRD for commands without a cluster. The
cases of `tests/e2e/test_crd_validation.py` test both. It returns all errors, whereas
`api.Desired.parse` stops at the first error.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, cast

from image_share_operator.api.fields import is_base_url, parse_duration
from image_share_operator.api.types import REGIONS, Decision, DeletionPolicy

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PROJECT = re.compile(r"[0-9a-f]{32}")
_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = re.compile(rf"{_LABEL}([.]{_LABEL})*")
"""Names of objects (RFC 1123)."""
NAMESPACE = re.compile(_LABEL)
_VAULT = re.compile(r"[!-~]*")
_DURATION = re.compile(r"([0-9]{1,6}([.][0-9]{1,3})?[hms])+")
_DAY = timedelta(hours=24)
MAX_IMAGES = 500

NOT_AN_IMAGE = (
    "must be an image ID, which is a UUID in lower case such as "
    "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90; use the ID of the image, not its name"
)
NOT_A_PROJECT = (
    "must be a project ID, which is 32 lower-case hexadecimal digits; use the ID of the project, "
    "not its name"
)
NOT_A_SECRET = (
    "must be the name of a Secret in the same namespace; use lower-case letters, digits, '-' "  # noqa: S105 - a message
    "and '.', and start and end with a letter or digit"
)
NOT_A_VAULT = (
    "must contain only printable ASCII characters without spaces; use the ID of the vault, not "
    "its name"
)
NOT_A_URL = (
    "must have the form https://HOST or https://HOST:PORT with a valid host and port; remove "
    "user, path, query and version"
)
NOT_A_TIMEOUT = (
    "must be a duration from 30s to 24h with the units h, m and s, such as 45s, 10m or 1h30m"
)
NOT_AN_INTERVAL = (
    "must be a duration from 1m to 24h with the units h, m and s, such as 5m or 1h30m; use 0s to "
    "disable drift checks"
)

Faults = Iterator[str]
Rule = Callable[[str, object], Faults]


def faults(spec: object) -> list[str]:
    """Return all errors that the API server would report, in the order of the fields."""
    if spec is None:
        return ["spec: Required value"]
    return list(
        _object(_FIELDS, ("images", "projectID", "credentialsSecretRef"))("spec", spec)
    ) or (list(_across(cast("Mapping[str, Any]", spec))))


def _across(spec: Mapping[str, Any]) -> Faults:
    """Apply the rules for several fields. Runs only if each field is valid."""
    if "region" not in spec and "endpoints" not in spec:
        yield (
            "spec.region: Required value: region or endpoints is required; set region to eu-de or "
            "eu-nl, or set both endpoints.iam and endpoints.ims"
        )
    if "region" in spec and "endpoints" in spec:
        yield (
            "spec.endpoints: Forbidden: region and endpoints are mutually exclusive, because the "
            "region determines the endpoints; remove one of them"
        )
    if "vaultID" in spec and spec.get("decision", Decision.ACCEPT) != Decision.ACCEPT:
        yield (
            "spec.vaultID: Forbidden: vaultID is allowed only when decision is Accept; remove "
            "vaultID, or set decision to Accept"
        )


def _object(rules: Mapping[str, Rule], required: tuple[str, ...]) -> Rule:
    def check(path: str, value: object) -> Faults:
        if not isinstance(value, dict):
            yield _mistyped(path, value, "object")
            return
        fields = cast("dict[str, object]", value)
        yield from (f"{path}.{name}: Required value" for name in required if name not in fields)
        for name, inner in fields.items():
            if name in rules:
                yield from rules[name](f"{path}.{name}", inner)
            else:
                yield f'unknown field "{path}.{name}"'

    return check


def _text(fits: Callable[[str], object], message: str, *, most: int, least: int = 0) -> Rule:
    """Return a rule for a text with a length from ``least`` to ``most`` bytes that fits."""

    def check(path: str, value: object) -> Faults:
        if not isinstance(value, str):
            yield _mistyped(path, value, "string")
        elif len(value.encode()) > most:
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
    def check(path: str, value: object) -> Faults:
        if not isinstance(value, str):
            yield _mistyped(path, value, "string")
        elif value not in words:
            known = ", ".join(map(_shown, words))
            yield f"{path}: Unsupported value: {_shown(value)}: supported values: {known}"

    return check


def _flag(path: str, value: object) -> Faults:
    if not isinstance(value, bool):
        yield _mistyped(path, value, "boolean")


def _images(path: str, value: object) -> Faults:
    if not isinstance(value, list):
        yield _mistyped(path, value, "array")
        return
    images = cast("list[object]", value)
    if not images:
        yield f"{path}: Invalid value: 0: {path} in body should have at least 1 items"
    if len(images) > MAX_IMAGES:
        yield f"{path}: Too many: {len(images)}: must have at most {MAX_IMAGES} items"
        return
    image = _text(_UUID.fullmatch, NOT_AN_IMAGE, most=64)
    seen: set[str] = set()
    for index, row in enumerate(images):
        yield from image(f"{path}[{index}]", row)
        if isinstance(row, str) and row in seen:
            yield f"{path}[{index}]: Duplicate value: {_shown(row)}"
        elif isinstance(row, str):
            seen.add(row)


def _span(least: timedelta) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        return bool(_DURATION.fullmatch(text)) and least <= parse_duration(text) <= _DAY

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
_SECRET_REF: dict[str, Rule] = {"name": _text(SUBDOMAIN.fullmatch, NOT_A_SECRET, most=253, least=1)}
_FIELDS: dict[str, Rule] = {
    "images": _images,
    "projectID": _text(_PROJECT.fullmatch, NOT_A_PROJECT, most=64),
    "decision": _one_of(*Decision),
    "vaultID": _text(_VAULT.fullmatch, NOT_A_VAULT, most=64, least=1),
    "credentialsSecretRef": _object(_SECRET_REF, ("name",)),
    "region": _one_of(*REGIONS),
    "endpoints": _object({"iam": _endpoint, "ims": _endpoint}, ("iam", "ims")),
    "timeout": _text(_span(timedelta(seconds=30)), NOT_A_TIMEOUT, most=32),
    "interval": _text(
        lambda text: text == "0s" or _span(timedelta(minutes=1))(text), NOT_AN_INTERVAL, most=32
    ),
    "deletionPolicy": _one_of(*DeletionPolicy),
    "suspend": _flag,
}
