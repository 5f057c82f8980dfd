"""A real Prometheus scrapes the operator: its metrics, and what the dashboard shows of a run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import dashboard
from dashboard import Panel
from e2e.live.programs import SHORT_WAITS, operator_fixture
from e2e.live.world import PUT, World
from envtest import Operator, eventually
from envtest.processes import free_port
from prom import PROGRAMS, Prometheus, Promtool
from prom.server import JOB, NAMESPACE

SILENT = {
    "Internal errors and dropped Events",
    "Images of selectors",
    "Longest empty selection",
}
"""Panels that show zeros alone when all is well and no resource has a selector."""
WINDOW = "30s"
READY = next(
    ask for panel in dashboard.panels() for _, ask in panel.queries if panel.title == "Ready"
)


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def promtool(install: Callable[..., Path]) -> Promtool:
    return Promtool(install(*PROGRAMS))


operator = operator_fixture(has_port=True, program=SHORT_WAITS)


@pytest.fixture(scope="module")
def prometheus(
    promtool: Promtool, operator: Operator, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    del promtool, operator  # built, and running
    with Prometheus(tmp_path_factory.mktemp("prometheus"), port) as running:
        eventually(lambda: running.up() or None)
        yield running


def asked(expression: str) -> str:
    """A query as Grafana sends it, its variables filled in."""
    filled = {"$job": JOB, "$namespace": NAMESPACE, "$__rate_interval": WINDOW}
    for name, value in filled.items():
        expression = expression.replace(name, value)
    return expression


def shown(prometheus: Prometheus, panel: Panel) -> dict[str, list[dict[str, Any]]]:
    return {ask: prometheus.query(asked(ask)) for _, ask in panel.queries}


def empty(prometheus: Prometheus) -> set[str]:
    """Panels that show nothing but zeros."""
    return {
        panel.title
        for panel in dashboard.panels()
        if not any(
            row["value"][1] not in ("0", "NaN")
            for rows in shown(prometheus, panel).values()
            for row in rows
        )
    }


def test_scrape_passes_promtool(world: World, port: int, promtool: Promtool) -> None:
    world.accept()

    scrape = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text

    assert "image_share_operator_batches_total" in scrape
    assert promtool.check_metrics(scrape) == ""


def test_each_panel_shows_what_happened(world: World, prometheus: Prometheus) -> None:
    world.sim.fault(PUT, count=1, status=503)
    for number in range(3):
        world.apply([world.image()], name=f"web-{number}")
        world.wait_for("Accepted", name=f"web-{number}")
    world.apply(["0a1b2c3d-0000-4000-8000-000000000000"], name="absent")
    world.wait_for("NotShared", name="absent")

    def all_scraped() -> bool | None:
        (ready,) = prometheus.query(asked(READY))
        return float(ready["value"][1]) == 0.75 or None

    eventually(all_scraped)
    assert empty(prometheus) <= {"Open circuits", "Queue latency", "Queue", *SILENT}
    told = {panel.title: shown(prometheus, panel) for panel in dashboard.panels()}
    numbers = {title: rows for title in told for rows in told[title].values()}
    assert float(numbers["Not Ready"][0]["value"][1]) == 1
    errors = {row["metric"]["error"] for row in numbers["Request errors"]}
    assert "retry" in errors


def test_no_query_of_the_dashboard_is_refused(prometheus: Prometheus) -> None:
    for panel in dashboard.panels():
        for ask, rows in shown(prometheus, panel).items():
            assert isinstance(rows, list), ask
