"""Names by convention, closed labels, and probes that tell the truth."""

import asyncio
import re
import threading
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric

from envtest.processes import free_port
from image_share_operator.telemetry import metrics, probes

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


class Health:
    def __init__(self) -> None:
        self.dead: str | None = None
        self.not_ready: str | None = None

    def why_dead(self) -> str | None:
        return self.dead

    def why_not_ready(self) -> str | None:
        return self.not_ready


async def test_probes_say_why() -> None:
    health, port, registry = Health(), free_port(), CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc()
    async with (
        probes.serving(port, registry, health),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        assert (await client.get("/healthz")).text == "ok\n"
        health.not_ready = "the first list is not complete"
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the first list is not complete\n")
        assert "things_total 1.0" in (await client.get("/metrics")).text
        assert (await client.get("/other")).status_code == 404


async def test_no_port_serves_nothing() -> None:
    async with probes.serving(0, CollectorRegistry(), Health()):
        pass


async def test_loop_that_is_stuck_does_not_answer() -> None:
    port = free_port()
    outcome: list[object] = []

    def ask() -> None:
        try:
            outcome.append(httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=0.3))
        except httpx.TimeoutException as exc:
            outcome.append(exc)

    async with probes.serving(port, CollectorRegistry(), Health()):
        asking = threading.Thread(target=ask)
        asking.start()
        asking.join()  # the fault: the loop is stuck until the client gives up
        await asyncio.sleep(0.1)  # the server sees that its client is gone

    assert isinstance(outcome[0], httpx.TimeoutException)
