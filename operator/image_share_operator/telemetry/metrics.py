"""All metrics, with their names, units and labels.

Label values are closed sets. No label contains a resource, image, project, host or ID.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from image_share_operator import __version__

disable_created_metrics()  # type: ignore[no-untyped-call]  # no alert and no panel reads them
REGISTRY = CollectorRegistry()
PREFIX = "image_share_operator"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_IMAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

ProcessCollector(registry=REGISTRY)
BUILD = Info("build", "Version of the operator.", namespace=PREFIX, registry=REGISTRY)
BUILD.info({"version": __version__})
LEADER = Gauge(
    "leader",
    "1 if this replica is the leader, 0 if it is standby.",
    namespace=PREFIX,
    registry=REGISTRY,
)

TO_READY = Histogram(
    "change_to_ready_seconds",
    "Time from a new spec, or from the loss of Ready, until Ready is True.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_LONG,
)
PASSES = Histogram(
    "pass_duration_seconds",
    "Duration of one reconcile of one resource, including waiting time.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_SECONDS,
)
FAULTS = Counter(
    "faults",
    "Reconciles that failed because of an internal error of the operator.",
    namespace=PREFIX,
    registry=REGISTRY,
)
RETRIES = Counter(
    "retries",
    "Failed reconciles that are retried automatically, including those without a status change.",
    ["reason"],  # reason of the Ready condition
    namespace=PREFIX,
    registry=REGISTRY,
)
DRIFTS = Counter(
    "drifted_images",
    "Images submitted again because another client changed their membership.",
    namespace=PREFIX,
    registry=REGISTRY,
)

BATCHES = Counter(
    "batches",
    "Batch requests to IMS.",
    ["result"],  # accepted, refused, failed
    namespace=PREFIX,
    registry=REGISTRY,
)
BATCH_IMAGES = Histogram(
    "batch_images",
    "Images per batch request.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_IMAGES,
)
SPLITS = Counter(
    "batch_splits",
    "Batches that were bisected, because they failed without naming an image.",
    namespace=PREFIX,
    registry=REGISTRY,
)
JOBS = Histogram(
    "job_duration_seconds",
    "Duration of batch jobs, from the times that IMS reports.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_LONG,
)

CLOUD_CALLS = Histogram(
    "cloud_request_duration_seconds",
    "Duration of requests to IAM and IMS.",
    ["route", "code"],  # route: method and template; code: 2xx, 3xx, 4xx, 5xx or none
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_SECONDS,
)
CLOUD_ERRORS = Counter(
    "cloud_errors",
    "Requests to IAM and IMS that were rejected or had no usable response.",
    ["route", "error"],  # error: a `RefusalKind`, or a `Cause` of a missing response
    namespace=PREFIX,
    registry=REGISTRY,
)
LOGINS = Counter(
    "logins",
    "Logins at IAM, and checks of access keys at IMS or IAM.",
    ["result"],  # ok, refused, failed
    namespace=PREFIX,
    registry=REGISTRY,
)

STATUS_WRITES = Counter(
    "status_writes",
    "Writes of a status to the Kubernetes API.",
    ["result"],  # ok, gone, failed
    namespace=PREFIX,
    registry=REGISTRY,
)
EVENTS_DROPPED = Counter(
    "events_dropped",
    "Events dropped because the queue was full; the next Event of the series counts them.",
    namespace=PREFIX,
    registry=REGISTRY,
)

for _counter, _results in (
    (BATCHES, ("accepted", "refused", "failed")),
    (LOGINS, ("ok", "refused", "failed")),
    (STATUS_WRITES, ("ok", "gone", "failed")),
):
    for _result in _results:
        _counter.labels(_result)  # starts at zero, so that Prometheus sees the first increase


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """Functions that return the current state at each scrape.

    Attributes:
        objects: number of resources, by status and reason of the Ready condition.
        waiting: number of due resources, and for how many seconds the oldest has been due.
        busy: number of reconciles in progress.
        circuits: number of open circuit breakers.
        tokens: age of the oldest token in use, in seconds.
        selections: number of images that match a selector, by verdict.
        selects_nothing_s: for how many seconds a selector has selected no image, the longest one.
        token_expiry: when the first token of a Secret expires, in seconds since the epoch; ``None``
            when no resource uses such a token.
    """

    objects: Callable[[], Mapping[tuple[str, str], int]]
    waiting: Callable[[], tuple[int, float]]
    busy: Callable[[], int]
    circuits: Callable[[], int]
    tokens: Callable[[], float]
    selections: Callable[[], Mapping[str, int]]
    selects_nothing_s: Callable[[], float]
    token_expiry: Callable[[], float | None] = lambda: None


class StateCollector(Collector):
    """Collects gauges from the current state at each scrape."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges."""
        yield self._objects()
        yield self._selector_images()
        yield self._token_expiry()
        yield from self._single_values()

    def _objects(self) -> GaugeMetricFamily:
        objects = GaugeMetricFamily(
            f"{PREFIX}_objects",
            "Resources by status and reason of the Ready condition.",
            labels=("ready", "reason"),
        )
        for (ready, reason), count in self._views.objects().items():
            objects.add_metric((ready, reason), count)
        return objects

    def _selector_images(self) -> GaugeMetricFamily:
        images = GaugeMetricFamily(
            f"{PREFIX}_selector_images",
            "Images that match a selector, by what the selector decided.",
            labels=("selection",),
        )
        for verdict, count in self._views.selections().items():
            images.add_metric((verdict,), count)
        return images

    def _token_expiry(self) -> GaugeMetricFamily:
        expiry = GaugeMetricFamily(
            f"{PREFIX}_given_token_expiry_timestamp_seconds",
            "When the first token of a Secret expires. Absent if no resource uses such a token.",
        )
        if (at := self._views.token_expiry()) is not None:
            expiry.add_metric((), at)
        return expiry

    def _single_values(self) -> Iterator[GaugeMetricFamily]:
        depth, oldest = self._views.waiting()
        for name, text, value in (
            ("queue_depth", "Resources that are due and wait for a reconcile.", depth),
            (
                "queue_oldest_due_seconds",
                "Time for which the oldest due resource has been waiting.",
                oldest,
            ),
            ("passes_under_way", "Reconciles in progress.", self._views.busy()),
            (
                "circuits_open",
                "Cloud endpoints with an open circuit breaker.",
                self._views.circuits(),
            ),
            (
                "token_age_seconds",
                "Age of the oldest IAM token in use.",
                self._views.tokens(),
            ),
            (
                "selector_empty_seconds",
                "Time for which a selector has selected no image; the longest of all resources.",
                self._views.selects_nothing_s(),
            ),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", text, value=value)
