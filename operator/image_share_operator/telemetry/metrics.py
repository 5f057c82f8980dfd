"""All that is measured: names, units and labels on one screen.

Label values are closed sets: no object, image, project, host or id is ever one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from image_share_operator import __version__

REGISTRY = CollectorRegistry()
PREFIX = "image_share_operator"

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_IMAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500)

ProcessCollector(registry=REGISTRY)
BUILD = Info("build", "Which operator this is.", namespace=PREFIX, registry=REGISTRY)
BUILD.info({"version": __version__})
LEADER = Gauge(
    "leader",
    "1 while this replica works; 0 while it waits for the Lease.",
    namespace=PREFIX,
    registry=REGISTRY,
)

TO_READY = Histogram(
    "change_to_ready_seconds",
    "From when a spec was first seen, or Ready was lost, to Ready True.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_LONG,
)
PASSES = Histogram(
    "pass_duration_seconds",
    "One pass over one object, waiting included.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_SECONDS,
)
FAULTS = Counter(
    "faults",
    "Passes that broke off by a fault of the operator itself.",
    namespace=PREFIX,
    registry=REGISTRY,
)
RETRIES = Counter(
    "retries",
    "Passes that broke off and come back by themselves, also those that no status tells of.",
    ["reason"],  # as of the Ready condition that tells of it
    namespace=PREFIX,
    registry=REGISTRY,
)
DRIFTS = Counter(
    "drifted_images",
    "Images whose membership someone else had changed, sent again.",
    namespace=PREFIX,
    registry=REGISTRY,
)

BATCHES = Counter(
    "batches",
    "PUTs of images.",
    ["result"],  # accepted, refused, failed
    namespace=PREFIX,
    registry=REGISTRY,
)
BATCH_IMAGES = Histogram(
    "batch_images",
    "Images in one PUT.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_IMAGES,
)
SPLITS = Counter(
    "batch_splits",
    "Batches that were divided: refused, or failed without naming an image.",
    namespace=PREFIX,
    registry=REGISTRY,
)
JOBS = Histogram(
    "job_duration_seconds",
    "From begin to end of a job, by the cloud's own times.",
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_LONG,
)

CLOUD_CALLS = Histogram(
    "cloud_request_duration_seconds",
    "One exchange with IAM or IMS.",
    ["route", "code"],  # route: method and template; code: 2xx, 3xx, 4xx, 5xx or none
    namespace=PREFIX,
    registry=REGISTRY,
    buckets=_SECONDS,
)
CLOUD_ERRORS = Counter(
    "cloud_errors",
    "Exchanges with IAM or IMS that were refused or not answered.",
    ["route", "error"],  # error: a kind of `cloud/codes.py`; connect, timeout, broken, …
    namespace=PREFIX,
    registry=REGISTRY,
)
LOGINS = Counter(
    "logins",
    "Logins at IAM.",
    ["result"],  # ok, refused, failed
    namespace=PREFIX,
    registry=REGISTRY,
)

STATUS_WRITES = Counter(
    "status_writes",
    "Writes of a status to the API server.",
    ["result"],  # ok, gone, failed
    namespace=PREFIX,
    registry=REGISTRY,
)
EVENTS_DROPPED = Counter(
    "events_dropped",
    "Events that were not written, too many waited; a later one of the same kind counts them.",
    namespace=PREFIX,
    registry=REGISTRY,
)

for _counter, _results in (
    (BATCHES, ("accepted", "refused", "failed")),
    (LOGINS, ("ok", "refused", "failed")),
    (STATUS_WRITES, ("ok", "gone", "failed")),
):
    for _result in _results:
        _counter.labels(_result)  # shown as zero: Prometheus sees no rise to the first one else


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What is looked up when someone scrapes.

    Attributes:
        objects: how many there are, by status and reason of their Ready condition.
        waiting: how many are due and wait for their pass, and for how many seconds the first has.
        busy: passes under way.
        circuits: endpoints that are being left alone.
        tokens: for how many seconds the oldest token in use has been known.
    """

    objects: Callable[[], Mapping[tuple[str, str], int]]
    waiting: Callable[[], tuple[int, float]]
    busy: Callable[[], int]
    circuits: Callable[[], int]
    tokens: Callable[[], float]


class StateCollector(Collector):
    """Gauges that are not kept but looked up."""

    def __init__(self, views: Views) -> None:
        self._views = views

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Look."""
        objects = GaugeMetricFamily(
            f"{PREFIX}_objects",
            "Objects, by status and reason of their Ready condition.",
            labels=("ready", "reason"),
        )
        for (ready, reason), count in self._views.objects().items():
            objects.add_metric((ready, reason), count)
        yield objects
        depth, oldest = self._views.waiting()
        for name, told, value in (
            ("queue_depth", "Objects that are due and wait for a pass.", depth),
            (
                "queue_oldest_due_seconds",
                "How long the one that waits for longest has been due.",
                oldest,
            ),
            ("passes_under_way", "Passes that have begun and not ended.", self._views.busy()),
            ("circuits_open", "Endpoints that are being left alone.", self._views.circuits()),
            (
                "token_age_seconds",
                "Age of the oldest IAM token in use.",
                self._views.tokens(),
            ),
        ):
            yield GaugeMetricFamily(f"{PREFIX}_{name}", told, value=value)
