"""That kopf keeps nothing of an object once its event is handed over; kopf runs in this process."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest
from kopf._core.reactor.inventory import ResourceMemory

from e2e.conftest import create
from e2e.live.process import eventually, install_rights
from e2e.watching import watch_of
from envtest import ControlPlane
from image_share_operator.controller.object_store import ObjectStore

OBJECTS = 5
PROJECT = "7e57ab1e0c2b4c1d8a3e9f60b5d4c3a2"
"""Of these objects alone: other tests of this process may keep theirs."""


@pytest.fixture
async def filled(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectStore]:
    """A store that kopf fills."""
    async with watch_of(namespace, install_rights(control_plane), monkeypatch) as (_, store):
        yield store


async def _fill(store: ObjectStore, control_plane: ControlPlane, namespace: str) -> None:
    for _ in range(OBJECTS):
        create(control_plane, namespace, projectID=PROJECT)
    await asyncio.to_thread(eventually, lambda: len(store) == OBJECTS or None)
    await asyncio.sleep(0.5)  # the last event is being put away


async def test_an_object_that_is_known_takes_no_memory_in_kopf(
    filled: ObjectStore, control_plane: ControlPlane, namespace: str
) -> None:
    await _fill(filled, control_plane, namespace)
    gc.collect()

    assert [one for one in gc.get_objects() if isinstance(one, ResourceMemory)] == []


async def test_what_kopf_leaves_to_the_collector_is_not_the_object(
    filled: ObjectStore, control_plane: ControlPlane, namespace: str
) -> None:
    gc.collect()
    gc.disable()
    try:
        await _fill(filled, control_plane, namespace)
        left = [one for one in gc.get_objects() if isinstance(one, dict)]
    finally:
        gc.enable()

    metadata = [one for one in left if one.get("namespace") == namespace]
    assert [one for one in metadata if "managedFields" in one] == []
    assert [one for one in left if one.get("projectID") == PROJECT] == []
