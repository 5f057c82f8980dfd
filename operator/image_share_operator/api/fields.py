"""Reads single fields of a spec; each error names its field. No I/O."""

import ipaddress
import re
import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from image_share_operator.api.errors import InvalidSpecError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_LABEL = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_NAME = rf"(?:{_LABEL}[.])*[A-Za-z](?:[-A-Za-z0-9]{{0,61}}[A-Za-z0-9])?"
"""Of a host. The last part begins with a letter: ``127.1`` and ``0x7f000001`` are addresses to
some programs and names to others."""
_ORIGIN = (
    rf"https?://(?:(?P<name>{_NAME})|(?P<v4>[0-9.]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
)
_BASE_URL = re.compile(rf"{_ORIGIN}/?")
_PATH_URL = re.compile(rf"{_ORIGIN}(?:/[-A-Za-z0-9._~]+)*/?")
_VERSION = re.compile(r"/v\d+(\.\d+)?/?$")
_MAX_NAME = 253
_MAX_PORT = 65_535
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def mapping(spec: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = spec.get(field)
    if not isinstance(value, Mapping):
        raise InvalidSpecError(f"spec.{field} is missing")
    return value


def optional_text(spec: Mapping[str, Any], field: str) -> str | None:
    value = spec.get(field)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidSpecError(f"spec.{field} must be a string that is not empty")
    return value


def text(spec: Mapping[str, Any], field: str) -> str:
    value = optional_text(spec, field)
    if value is None:
        raise InvalidSpecError(f"spec.{field} is missing")
    return sys.intern(value)  # thousands of specs name the same project, Secret and hosts


def texts(spec: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value: object = spec.get(field)
    if not isinstance(value, list) or not value:
        raise InvalidSpecError(f"spec.{field} must list at least one image")
    rows: list[object] = value
    texts = tuple(row for row in rows if isinstance(row, str))
    if len(texts) != len(rows):
        raise InvalidSpecError(f"spec.{field} must have strings only")
    return texts


@lru_cache(maxsize=1024)
def is_base_url(text: str) -> bool:
    """Whether it is a scheme, a host and perhaps a port, as the rule of the CRD has it."""
    return _has_valid_host(_BASE_URL.fullmatch(text))


@lru_cache(maxsize=1024)
def is_path_url(text: str) -> bool:
    """Whether it is such a URL, perhaps with a path, as the rule of the CRD has it."""
    return _has_valid_host(_PATH_URL.fullmatch(text))


def without_version(url: str) -> str:
    """The URL without an API version and a slash at its end: ``https://host/identity/v3``."""
    return _VERSION.sub("", url).rstrip("/")


def _has_valid_host(found: re.Match[str] | None) -> bool:
    if found is None or len(found["name"] or "") > _MAX_NAME:
        return False
    try:
        if found["v4"]:
            ipaddress.IPv4Address(found["v4"])
        if found["v6"]:
            ipaddress.IPv6Address(found["v6"])
    except ValueError:
        return False
    return int(found["port"] or 1) <= _MAX_PORT


def duration(spec: Mapping[str, Any], field: str, default: timedelta) -> timedelta:
    text = optional_text(spec, field)
    if text is None:
        return default
    try:
        return parse_duration(text)
    except (ValueError, OverflowError) as exc:
        raise InvalidSpecError(f"spec.{field}: {exc}") from None


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """Read a Go-style duration such as ``1h30m``.

    Raises:
        ValueError: the text is not such a duration.
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 10m or 1h30m")
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
