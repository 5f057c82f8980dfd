"""Names by convention, and closed labels."""

import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics_core import Metric

from image_share_operator.telemetry import metrics

BASE_UNITS = ("seconds", "bytes", "ratio")
OTHER_UNITS = ("minutes", "hours", "milliseconds", "ms", "percent", "kilobytes", "megabytes")
CLOSED_LABELS = {"ready", "reason", "result", "route", "code", "error", "version"}


def everything() -> Iterator[Metric]:
    views = metrics.Views(
        objects=lambda: {("True", "Accepted"): 3},
        waiting=lambda: (2, 1.5),
        busy=lambda: 1,
        circuits=lambda: 0,
        tokens=lambda: 60.0,
        selections=dict,
        selects_nothing_s=lambda: 0.0,
    )
    yield from metrics.REGISTRY.collect()
    yield from metrics.StateCollector(views).collect()


def own() -> Iterator[Metric]:
    """All but those that every program has by the same names."""
    yield from (metric for metric in everything() if not metric.name.startswith("process_"))


@pytest.mark.parametrize("metric", tuple(own()), ids=lambda metric: metric.name)
def test_metric_is_named_as_prometheus_asks(metric: Metric) -> None:
    words = metric.name.split("_")

    assert metric.name.startswith("image_share_operator_")
    assert re.fullmatch("[a-z_]+", metric.name)
    assert not set(words) & set(OTHER_UNITS)
    assert not metric.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert metric.type != "histogram" or set(words) & {*BASE_UNITS, "images"}
    assert metric.documentation.endswith(".")


@pytest.mark.parametrize("metric", tuple(everything()), ids=lambda metric: metric.name)
def test_metric_has_labels_of_closed_sets_only(metric: Metric) -> None:
    names = {name for sample in metric.samples for name in sample.labels} - {"le"}

    assert names <= CLOSED_LABELS


def test_metrics_have_no_created_series() -> None:
    names = {sample.name for metric in everything() for sample in metric.samples}

    assert [name for name in names if name.endswith("_created")] == []
