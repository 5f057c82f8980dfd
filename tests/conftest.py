"""What all tests share: limits, order, and how much the property tests try."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.capture import CaptureManager
from hypothesis import HealthCheck, settings

from envtest import binaries
from openstack_cloud import OpenStackCloud
from otc_simulator.client import Simulator

pytest_plugins = ["limits", "pytester"]

# The plugins for async tests ask the policy for the current loop, and the policy would make one
# that nothing closes; once a loop was set, it refuses instead.
asyncio.set_event_loop(None)

# `full` and `quick` try the same examples each time, so that no run fails for what an earlier one
# did not try. `long` tries new ones, and prints how to repeat the one that fails.
settings.register_profile(
    "full",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=300,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
FULL = settings.get_profile("full")
settings.register_profile("quick", FULL, max_examples=30)
settings.register_profile("long", FULL, derandomize=False, max_examples=6000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "full"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the tests that take a minute or more first; the others fill the time beside them."""
    items.sort(key=lambda item: item.get_closest_marker("starts_first") is None)


@pytest.fixture(scope="session")
def install(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Install programs as `binaries.directory` does; it may build for minutes, which is shown."""

    def install(*names: str) -> Path:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        assert isinstance(capture, CaptureManager)
        with capture.global_and_fixture_disabled():
            return binaries.directory(*names)

    return install


@pytest.fixture(scope="session")
def openstack(request: pytest.FixtureRequest) -> Iterator[OpenStackCloud]:
    """A real Keystone and Glance; they are installed if missing, which is shown.

    Tests that stop a server or replace its keys start it again: others of the same process follow.
    """
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert isinstance(capture, CaptureManager)
    with capture.global_and_fixture_disabled():
        cloud = OpenStackCloud()
    with cloud:
        yield cloud


@pytest.fixture(scope="session")
def _simulator() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def sim(_simulator: Simulator) -> Simulator:
    """One simulated cloud for a run of tests, reset before each test."""
    _simulator.reset()
    return _simulator
