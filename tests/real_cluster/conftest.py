"""`make cluster-test`: the chart and an image in a cluster that exists already.

KUBECONFIG and IMAGE say which. All that a run creates is removed at its end, also after a failure;
what a killed run left is removed at the start of the next one.
"""

import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from chart.programs import PROGRAMS, Helm
from e2e.live.world import World
from real_cluster.cloud import SimulatorPod
from real_cluster.cluster import Cluster
from real_cluster.release import CRD, NAME, SELECTOR, SYSTEM, Release, clean, is_ours

HELM_S = 300.0
HEADER = pytest.StashKey[str]()
ROWS = pytest.StashKey[list[str]]()
NOTE = "note"
"""The property of a test whose values the report shows."""

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What is running, and what the first minute of the installation showed."""

    release: Release
    sim: SimulatorPod
    first: World
    first_image: str
    first_ready_s: float
    unhealthy: list[str]


@pytest.fixture(scope="session")
def image() -> str:
    image = os.environ.get("IMAGE", "")
    if not image or not os.environ.get("KUBECONFIG"):
        pytest.exit("set KUBECONFIG, and IMAGE=REPOSITORY:TAG that its nodes can pull", 2)
    return image


@pytest.fixture(scope="session")
def helm_home(install: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    install()
    install(*PROGRAMS)
    return tmp_path_factory.mktemp("helm")


@pytest.fixture(scope="session")
def cluster(
    image: str,
    helm_home: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cluster]:
    """The cluster without an operator; refuses one that has the CRD of another release."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    helm = Helm(helm_home, made.kubeconfig, timeout_s=HELM_S)
    if made.find(CRD) and not is_ours(made):
        made.close()
        pytest.exit("the cluster has the CRD imageshareacceptances.ims.otc.dev; use another one", 2)
    if made.namespaces() or is_ours(made):
        clean(made, helm)
    nodes = len(made.nodes())
    pytestconfig.stash[HEADER] = f"Kubernetes {made.version()}, {nodes} nodes, image {image}"
    yield made
    if not os.environ.get("KEEP"):
        clean(made, helm)
    made.close()


@pytest.fixture(scope="session")
def installed(cluster: Cluster, helm_home: Path, image: str) -> Iterator[Installed]:
    """The release; the first resource is applied while the nodes pull the image."""
    helm = Helm(helm_home, cluster.kubeconfig, timeout_s=HELM_S)
    release = Release(cluster, helm, os.environ.get("PREVIOUS_IMAGE") or image)
    cluster.create_namespace(SYSTEM, restricted=True)
    sim = SimulatorPod(cluster, SYSTEM, image)
    began = time.monotonic()
    release.apply()
    with sim:
        first = world_in(cluster, sim, release)
        first_image = first.accept()
        first_ready_s = time.monotonic() - began
        release.rollout()
        yield Installed(
            release=release,
            sim=sim,
            first=first,
            first_image=first_image,
            first_ready_s=first_ready_s,
            unhealthy=unhealthy(cluster),
        )


def unhealthy(cluster: Cluster) -> list[str]:
    """The messages of the Events Unhealthy of the replicas."""
    query = {"fieldSelector": "reason=Unhealthy"}
    rows = cluster.items(f"/api/v1/namespaces/{SYSTEM}/events", **query)
    return [row["message"] for row in rows if row["involvedObject"]["name"].startswith(NAME)]


def world_in(cluster: Cluster, sim: SimulatorPod, release: Release) -> World:
    """A tenant with a namespace, a user and a project of its own."""
    name = f"cluster-test-{uuid4().hex[:8]}"
    cluster.create_namespace(name)
    world = World(cluster, sim, release, name)  # type: ignore[arg-type]  # its client, its logs
    world.secret()
    return world


@pytest.fixture
def release(installed: Installed) -> Release:
    """The release with all replicas ready, whatever an earlier test did to them."""
    installed.release.rollout()
    installed.release.leader()
    return installed.release


@pytest.fixture
def world(cluster: Cluster, installed: Installed, release: Release) -> Iterator[World]:
    made = world_in(cluster, installed.sim, release)
    yield made
    made.finish_jobs()
    cluster.http.delete(made.resources)


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """Show what a test measured in the report."""
    return lambda text: record_property(NOTE, text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep a line for the report; add pods, Events and logs to a failure."""
    report = yield
    if report.when == "call" or report.skipped or report.failed:
        what = item.name.removeprefix("test_").replace("_", " ")
        notes = [str(value) for name, value in report.user_properties if name == NOTE]
        if report.skipped and isinstance(report.longrepr, tuple):
            notes.append(report.longrepr[2].removeprefix("Skipped: "))
        row = f"{report.outcome:8}{call.duration:7.1f} s  {what:66} {'; '.join(notes)}"
        item.config.stash.setdefault(ROWS, []).append(row.rstrip())
    if report.failed and isinstance(item, pytest.Function):
        found = item.funcargs.get("installed")
        if isinstance(found, Installed):
            report.sections.append((f"replicas {SELECTOR}", found.release.tail()))
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if HEADER in config.stash:
        terminalreporter.section("cluster test")
        terminalreporter.write_line(config.stash[HEADER])
        for row in config.stash.get(ROWS, []):
            terminalreporter.write_line(row)
