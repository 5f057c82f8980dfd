"""Process settings, read once, refused at start when wrong."""

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
"""Parts of the operator that may have a level of their own; `logs.AREAS` says which they are."""


class SettingsError(Exception):
    """A setting can't be used; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the process is told from outside; see `docs/operations.md` for the table."""

    namespaces: tuple[str, ...]
    """Namespaces to watch; empty for all."""
    shard: Shard
    """The part of these namespaces that this replica serves."""
    allow_insecure_endpoints: bool
    """Whether a resource may name http:// endpoints. For tests and demos only."""
    workers: int
    """Passes under way at once."""
    namespace_workers: int
    """Passes of one namespace under way at once."""
    endpoint_requests: int
    """Requests under way at once to one endpoint of the cloud."""
    endpoint_rate: float
    """Requests begun in a second to one endpoint of the cloud."""
    batch_images: int
    """Images in one PUT at most."""
    batch_window: timedelta
    """How long the first images of a batch wait for those of other resources."""
    request_timeout: timedelta
    """For one exchange with the cloud or the API server, from connecting to the last byte."""
    secret_poll: timedelta
    """How old a Secret as read may be, and how often a resource that waits for its Secret looks:
    a rotation is noticed within twice this time."""
    slow_retry: timedelta
    """Between two tries of what only a person can mend."""
    https_proxy: str = field(repr=False)
    """The proxy that https:// endpoints of the cloud are reached through; empty for none. Its URL
    may hold a password."""
    no_proxy: str
    """Hosts that are reached without it, separated by commas."""
    leader_election: bool
    """Whether to work only while holding the Lease."""
    lease_name: str
    lease_namespace: str
    """Empty for the pod's own."""
    metrics_port: int
    """Of metrics and probes; zero for none."""
    log_format: str
    log_level: str
    log_areas: Mapping[str, str]
    """Levels of parts of the operator that differ from `log_level`."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read all settings.

        Raises:
            SettingsError: a value is outside its range.
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
    """A variable that all programs know; the lower-case one wins, as it does for curl."""
    return (env.get(name.lower()) or env.get(name, "")).strip()


def _proxy(env: Mapping[str, str]) -> str:
    text = _usual("HTTPS_PROXY", env)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if text and not usable:  # not shown: it may hold a password
        raise SettingsError("HTTPS_PROXY: not a URL such as http://proxy.example.com:3128")
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
    """Read ``info,cloud=debug``: a level for all, and levels of parts."""
    general, areas = "info", dict[str, str]()
    for word in _list(env, "LOG_LEVEL"):
        area, found, level = word.rpartition("=")
        if level.lower() not in LOG_LEVELS or (found and area not in LOG_AREAS):
            raise SettingsError(
                f"{PREFIX}LOG_LEVEL: {word!r} is neither one of {', '.join(LOG_LEVELS)} nor one "
                f"of them for a part ({', '.join(LOG_AREAS)}), such as cloud=debug"
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
        raise SettingsError(f"{PREFIX}{name}={text!r}: not one of {', '.join(among)}")
    return text


def _seconds(
    env: Mapping[str, str], name: str, *, default: float, low: float, high: float
) -> timedelta:
    return timedelta(seconds=_number(env, name, default=default, low=low, high=high))


def _integer(env: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    number = _number(env, name, default=default, low=low, high=high)
    if number != int(number):
        raise SettingsError(f"{PREFIX}{name}={_value(env, name)!r}: not a whole number")
    return int(number)


def _number(env: Mapping[str, str], name: str, *, default: float, low: float, high: float) -> float:
    text = _value(env, name)
    try:
        number = float(text) if text else default
    except ValueError:
        raise SettingsError(f"{PREFIX}{name}={text!r}: not a number") from None
    if not low <= number <= high:
        raise SettingsError(f"{PREFIX}{name}={text!r}: not in [{low:g}, {high:g}]")
    return number
