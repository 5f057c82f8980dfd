"""The settings of the process: read and validated once, at start.

Each field of `Settings` declares its environment variable, its values, its default and its text for
the documentation. `hack/generate.py` writes the table in `docs/operations.md` from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from image_share_operator.sharding import Shard

T = TypeVar("T")

PREFIX = "ISA_"
LEASE = "image-share-operator"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_AREAS = ("objects", "cloud", "events", "lease", "watch")
"""Components that can have a separate log level; `logs.AREAS` has their loggers."""


class SettingsError(Exception):
    """A setting is invalid. The message names the setting and the allowed values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind(Generic[T]):
    """The values of a variable.

    Attributes:
        parse: converts the text; raises `ValueError` with the rest of the sentence "NAME=text: …".
        allowed: the values, as the documentation names them.
        is_secret: whether the text may contain a password, so that no error shows it.
    """

    parse: Callable[[str], T]
    allowed: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One environment variable.

    Attributes:
        default: the text that applies when the variable is not set or empty.
        default_shown: the default in the documentation, where the text does not explain it.
        is_common: whether other programs read it too. Then its lower-case name takes precedence, as
            in curl.
    """

    name: str
    kind: Kind[Any]
    default: str
    meaning: str
    default_shown: str = ""
    is_common: bool = False

    def read(self, env: Mapping[str, str]) -> object:
        """Read the variable.

        Raises:
            SettingsError: its value is invalid.
        """
        text = (env.get(self.name.lower()) or "") if self.is_common else ""
        text = (text or env.get(self.name, "")).strip() or self.default
        try:
            return self.kind.parse(text)
        except ValueError as exc:
            shown = "" if self.kind.is_secret else f"={text!r}"
            raise SettingsError(f"{self.name}{shown}: {exc}") from None


def _number(low: float, high: float, unit: str = "") -> Kind[float]:
    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError("must be a number") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low:g} to {high:g}")
        return number

    return Kind(parse=parse, allowed=f"{low:g}-{high:g} {unit}".strip())


def _seconds(low: float, high: float) -> Kind[timedelta]:
    number = _number(low, high, "s")
    return Kind(
        parse=lambda text: timedelta(seconds=number.parse(text)),
        allowed=number.allowed,
    )


def _integer(low: int, high: int) -> Kind[int]:
    number = _number(low, high)

    def parse(text: str) -> int:
        value = number.parse(text)
        if value != int(value):
            raise ValueError("must be a whole number")
        return int(value)

    return Kind(parse=parse, allowed=f"{low}-{high}")


def _one_of(*words: str) -> Kind[str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text.lower()

    return Kind(parse=parse, allowed=", ".join(f"`{word}`" for word in words))


_TRUE_OR_FALSE = _one_of("true", "false")
_FLAG = Kind(
    parse=lambda text: _TRUE_OR_FALSE.parse(text) == "true", allowed=_TRUE_OR_FALSE.allowed
)
_NAME = Kind(parse=str, allowed="a name")


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_proxy(text: str) -> str:
    if not text:
        return text
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be a URL such as http://proxy.example.com:3128")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLevels:
    """Log levels.

    Attributes:
        general: the level of all components that have none of their own.
        components: levels by component of `LOG_AREAS`.
    """

    general: str = "info"
    components: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, text: str) -> "LogLevels":
        """Parse ``info,cloud=debug``: the general level, and levels by component.

        Raises:
            ValueError: there is no such level or component.
        """
        general, components = "info", dict[str, str]()
        for word in _parse_list(text):
            component, found, level = word.rpartition("=")
            if level.lower() not in LOG_LEVELS or (found and component not in LOG_AREAS):
                raise ValueError(
                    f"{word!r} is invalid; use one of {', '.join(LOG_LEVELS)}, or set the level "
                    f"of a component ({', '.join(LOG_AREAS)}), such as cloud=debug"
                )
            if found:
                components[component] = level.lower()
            else:
                general = level.lower()
        return cls(general=general, components=components)


def _variable(
    name: str,
    kind: Kind[T],
    default: str,
    meaning: str,
    *,
    default_shown: str = "",
    is_common: bool = False,
) -> T:
    """Declare a field of `Settings` that is read from a variable."""
    variable = Variable(
        name=name if is_common else PREFIX + name,
        kind=kind,
        default=default,
        meaning=meaning,
        default_shown=default_shown,
        is_common=is_common,
    )
    return field(
        default=kind.parse(default), metadata={"variable": variable}, repr=not kind.is_secret
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings. Without arguments, each has its default."""

    namespaces: tuple[str, ...] = _variable(
        "NAMESPACES",
        Kind(parse=_parse_list, allowed="names, comma-separated"),
        "",
        "Namespaces to watch.",
        default_shown="all",
    )
    shard: Shard = _variable(
        "SHARD",
        Kind(parse=Shard.parse, allowed="`index/count`"),
        "0/1",
        "The shard of the namespaces that this replica serves.",
    )
    allow_insecure_endpoints: bool = _variable(
        "ALLOW_INSECURE_ENDPOINTS",
        _FLAG,
        "false",
        "Allow `http://` endpoints in a spec. For tests only. Also `--allow-insecure-endpoints`.",
    )
    workers: int = _variable(
        "WORKERS",
        _integer(1, 16384),
        "2048",
        "Concurrent reconciles. Most of them wait for the cloud.",
    )
    namespace_workers: int = _variable(
        "NAMESPACE_WORKERS",
        _integer(1, 4096),
        "1024",
        "Concurrent reconciles of one namespace. A namespace also leaves at least as many "
        "reconciles to the others as it uses.",
    )
    endpoint_requests: int = _variable(
        "ENDPOINT_REQUESTS",
        _integer(1, 512),
        "32",
        "Concurrent requests to one cloud endpoint. One namespace uses up to three times as many "
        "as it leaves to others, so up to three quarters.",
    )
    endpoint_rate: float = _variable(
        "ENDPOINT_RATE",
        _number(1, 10000, "per s"),
        "100",
        "Requests per second to one cloud endpoint.",
    )
    batch_images: int = _variable(
        "BATCH_IMAGES", _integer(1, 500), "50", "Maximum number of images in one PUT."
    )
    batch_window: timedelta = _variable(
        "BATCH_WINDOW_S",
        _seconds(0, 10),
        "0.1",
        "How long the first images of a batch wait for images of other resources.",
    )
    request_timeout: timedelta = _variable(
        "REQUEST_TIMEOUT_S",
        _seconds(1, 300),
        "30",
        "Timeout of one request to the cloud or to the API server, from the connection to the last "
        "byte.",
    )
    signing_form: str = _variable(
        "SIGNING_FORM",
        _one_of("scoped", "plain"),
        "scoped",
        "How requests are signed with an access key: `scoped` as by the SDKs of the Open Telekom "
        "Cloud, `plain` as by those of Huawei Cloud.",
    )
    secret_poll: timedelta = _variable(
        "SECRET_POLL_S",
        _seconds(1, 30),
        "20",
        "Maximum age of a cached Secret, and how often a resource checks for a missing Secret. The "
        "operator detects a changed Secret within twice this time.",
    )
    slow_retry: timedelta = _variable(
        "SLOW_RETRY_S",
        _seconds(1200, 86400),
        "1800",
        "Time between two retries of an error that needs a person. The minimum protects accounts "
        "from a lock.",
    )
    leader_election: bool = _variable(
        "LEADER_ELECTION",
        _FLAG,
        "false",
        "Reconcile only while this replica holds the Lease. Required for two replicas.",
    )
    lease_name: str = _variable(
        "LEASE_NAME", _NAME, LEASE, "Name of the Lease. Each set of replicas needs its own."
    )
    lease_namespace: str = _variable(
        "LEASE_NAMESPACE", _NAME, "", "Namespace of the Lease.", default_shown="the pod's"
    )
    metrics_port: int = _variable(
        "METRICS_PORT",
        _integer(0, 65535),
        "0",
        "Port of `/metrics`, `/healthz` and `/readyz`. 0 switches them off.",
    )
    log_format: str = _variable(
        "LOG_FORMAT", _one_of("text", "json"), "text", "Format of the log lines on stderr."
    )
    log_levels: LogLevels = _variable(
        "LOG_LEVEL",
        Kind(parse=LogLevels.parse, allowed=", ".join(f"`{level}`" for level in LOG_LEVELS)),
        "info",
        "Minimum level of log lines. A component can have its own level: `info,cloud=debug`.",
    )
    https_proxy: str = _variable(
        "HTTPS_PROXY",
        Kind(parse=_parse_proxy, allowed="a URL", is_secret=True),
        "",
        "Proxy for the `https://` endpoints of the cloud. Requests to the API server never use it.",
        default_shown="none",
        is_common=True,
    )
    no_proxy: str = _variable(
        "NO_PROXY",
        Kind(parse=str, allowed="names and addresses, comma-separated"),
        "",
        "Hosts that are reached without the proxy. Ranges such as 10.0.0.0/8 are not supported.",
        default_shown="none",
        is_common=True,
    )

    # No variables for these: tests shorten them. `planning.requeue.Policy` explains three of them.
    membership_lag: timedelta = timedelta(seconds=60)
    late_effect: timedelta = timedelta(seconds=10)
    share_poll: timedelta = timedelta(seconds=10)
    watch_silence: timedelta = timedelta(seconds=70)
    """Time without a watch event after which the watch is opened again. Bookmarks arrive each
    minute."""
    watch_stuck: timedelta = timedelta(seconds=60)
    """Time without progress after which the watch loop counts as blocked; a restart is needed."""
    login_interval: timedelta = timedelta(seconds=1)
    """The shortest time between two reads of the own token by the watch, which reads it at each
    401."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read all settings.

        Raises:
            SettingsError: a value is invalid.
        """
        values: dict[str, Any] = {
            name: variable.read(env) for name, variable in variables().items()
        }
        return cls(**values)


def variables() -> dict[str, Variable]:
    """The variables by field, in the order of the documentation."""
    return {
        one.name: one.metadata["variable"] for one in fields(Settings) if "variable" in one.metadata
    }
