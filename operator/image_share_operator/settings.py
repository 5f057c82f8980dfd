"""The settings of the process: read and validated once, at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from image_share_operator.sharding import Shard

PREFIX = "ISA_"
LOG_FORMATS = ("text", "json")
LEASE = "image-share-operator"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_AREAS = ("objects", "cloud", "events", "lease", "watch")
"""Components that can have a separate log level; `logs.AREAS` has their loggers."""


class SettingsError(Exception):
    """A setting is invalid. The message names the setting and the allowed values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from environment variables; `docs/operations.md` lists them."""

    namespaces: tuple[str, ...]
    """Namespaces to watch; empty for all namespaces."""
    shard: Shard
    """The shard of these namespaces that this replica reconciles."""
    allow_insecure_endpoints: bool
    """Whether resources may have http:// endpoints. For tests and demos only."""
    workers: int
    """Maximum number of concurrent reconciles."""
    namespace_workers: int
    """Maximum number of concurrent reconciles per namespace."""
    endpoint_requests: int
    """Maximum number of concurrent requests per cloud endpoint."""
    endpoint_rate: float
    """Maximum number of requests per second and cloud endpoint."""
    batch_images: int
    """Maximum number of images per batch request."""
    batch_window: timedelta
    """Time that a batch waits for images of other resources."""
    request_timeout: timedelta
    """Timeout of one request to the cloud API or the API server, from connect to the last byte."""
    secret_poll: timedelta
    """Maximum age of a cached Secret, and the poll interval for a missing Secret. The operator
    detects a changed Secret within twice this time."""
    slow_retry: timedelta
    """Retry interval for errors that require a change by a user."""
    # No variables for these three: `planning.requeue.Policy` explains the values. Tests shorten
    # them.
    membership_lag: timedelta = timedelta(seconds=60)
    taken_after_all: timedelta = timedelta(seconds=10)
    share_poll: timedelta = timedelta(seconds=10)
    https_proxy: str = field(repr=False)
    """URL of the proxy for https:// endpoints of the cloud; empty for no proxy. It may contain a
    password."""
    no_proxy: str
    """Hosts to connect to without the proxy, separated by commas."""
    leader_election: bool
    """Whether to reconcile only as the leader."""
    lease_name: str
    lease_namespace: str
    """Namespace of the Lease; empty for the namespace of the pod."""
    metrics_port: int
    """Port of metrics and probes; 0 to disable them."""
    log_format: str
    log_level: str
    log_areas: Mapping[str, str]
    """Log levels by component, where they differ from `log_level`."""

    # No variables for these two. Tests shorten them.
    watch_silence: timedelta = timedelta(seconds=70)
    """Time without a watch event after which the watch is opened again. Bookmarks arrive each
    minute."""
    watch_stuck: timedelta = timedelta(seconds=60)
    """Time without progress after which the watch loop counts as blocked; a restart is needed."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read all settings.

        Raises:
            SettingsError: a value is invalid.
        """
        log_level, log_areas = _log_levels(env)
        return cls(
            namespaces=_list(env, "NAMESPACES"),
            shard=_shard(env),
            allow_insecure_endpoints=_flag(env, "ALLOW_INSECURE_ENDPOINTS"),
            workers=_integer(env, "WORKERS", default=2048, low=1, high=16384),
            namespace_workers=_integer(env, "NAMESPACE_WORKERS", default=1024, low=1, high=4096),
            endpoint_requests=_integer(env, "ENDPOINT_REQUESTS", default=32, low=1, high=512),
            endpoint_rate=_number(env, "ENDPOINT_RATE", default=100, low=1, high=10000),
            batch_images=_integer(env, "BATCH_IMAGES", default=50, low=1, high=500),
            batch_window=_seconds(env, "BATCH_WINDOW_S", default=0.1, low=0, high=10),
            request_timeout=_seconds(env, "REQUEST_TIMEOUT_S", default=30, low=1, high=300),
            secret_poll=_seconds(env, "SECRET_POLL_S", default=20, low=1, high=30),
            slow_retry=_seconds(env, "SLOW_RETRY_S", default=1800, low=1200, high=86400),
            https_proxy=_proxy(env),
            no_proxy=_usual("NO_PROXY", env),
            leader_election=_flag(env, "LEADER_ELECTION"),
            lease_name=_value(env, "LEASE_NAME") or LEASE,
            lease_namespace=_value(env, "LEASE_NAMESPACE"),
            metrics_port=_integer(env, "METRICS_PORT", default=0, low=0, high=65535),
            log_format=_choice(env, "LOG_FORMAT", default="text", among=LOG_FORMATS),
            log_level=log_level,
            log_areas=log_areas,
        )


def _value(env: Mapping[str, str], name: str) -> str:
    return env.get(PREFIX + name, "").strip()


def _usual(name: str, env: Mapping[str, str]) -> str:
    """Read a common variable. The lower-case name takes precedence, as in curl."""
    return (env.get(name.lower()) or env.get(name, "")).strip()


def _proxy(env: Mapping[str, str]) -> str:
    text = _usual("HTTPS_PROXY", env)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if text and not usable:  # the value is not shown, because it may contain a password
        raise SettingsError("HTTPS_PROXY: must be a URL such as http://proxy.example.com:3128")
    return text


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in _value(env, name).split(",") if part.strip())


def _shard(env: Mapping[str, str]) -> Shard:
    text = _value(env, "SHARD") or "0/1"
    try:
        return Shard.parse(text)
    except ValueError as exc:
        raise SettingsError(f"{PREFIX}SHARD={text!r}: {exc}") from None


def _log_levels(env: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """Parse ``info,cloud=debug``: the general level, and levels by component."""
    general, areas = "info", dict[str, str]()
    for word in _list(env, "LOG_LEVEL"):
        area, found, level = word.rpartition("=")
        if level.lower() not in LOG_LEVELS or (found and area not in LOG_AREAS):
            raise SettingsError(
                f"{PREFIX}LOG_LEVEL: {word!r} is invalid; use one of {', '.join(LOG_LEVELS)}, or "
                f"set the level of a component ({', '.join(LOG_AREAS)}), such as cloud=debug"
            )
        if found:
            areas[area] = level.lower()
        else:
            general = level.lower()
    return general, areas


def _flag(env: Mapping[str, str], name: str) -> bool:
    return _choice(env, name, default="false", among=("true", "false")) == "true"


def _choice(env: Mapping[str, str], name: str, *, default: str, among: tuple[str, ...]) -> str:
    text = _value(env, name).lower() or default
    if text not in among:
        raise SettingsError(f"{PREFIX}{name}={text!r}: must be one of {', '.join(among)}")
    return text


def _seconds(
    env: Mapping[str, str], name: str, *, default: float, low: float, high: float
) -> timedelta:
    return timedelta(seconds=_number(env, name, default=default, low=low, high=high))


def _integer(env: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    number = _number(env, name, default=default, low=low, high=high)
    if number != int(number):
        raise SettingsError(f"{PREFIX}{name}={_value(env, name)!r}: must be a whole number")
    return int(number)


def _number(env: Mapping[str, str], name: str, *, default: float, low: float, high: float) -> float:
    text = _value(env, name)
    try:
        number = float(text) if text else default
    except ValueError:
        raise SettingsError(f"{PREFIX}{name}={text!r}: must be a number") from None
    if not low <= number <= high:
        raise SettingsError(f"{PREFIX}{name}={text!r}: must be from {low:g} to {high:g}")
    return number
