"""kopf keeps no spec, status or managed fields of an object; kopf runs in this process."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from e2e.conftest import create
from e2e.watching import watch_of
from envtest import ControlPlane, eventually, install_rights
from image_share_operator.controller.object_store import ObjectStore

OBJECTS = 5
PROJECT = "7e57ab1e0c2b4c1d8a3e9f60b5d4c3a2"
"""The project ID of these objects only: other tests of this process may keep their objects."""


@pytest.fixture
async def store(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ObjectStore]:
    """A store that kopf fills."""
    kubeconfig = install_rights(control_plane)
    async with watch_of(namespace, kubeconfig=kubeconfig, monkeypatch=monkeypatch) as (_, store):
        yield store


async def test_kopf_keeps_no_spec_status_or_managed_fields(
    store: ObjectStore, control_plane: ControlPlane, namespace: str
) -> None:
    gc.collect()
    gc.disable()  # kopf leaves its views of an object to the garbage collector
    try:
        for _ in range(OBJECTS):
            create(control_plane, namespace, projectID=PROJECT)
        await asyncio.to_thread(eventually, lambda: len(store) == OBJECTS or None)
        await asyncio.sleep(0.5)  # the handler of the last event returns
        dicts = [one for one in gc.get_objects() if isinstance(one, dict)]
    finally:
        gc.enable()

    metadata = [one for one in dicts if one.get("namespace") == namespace]
    assert [one for one in metadata if "managedFields" in one] == []
    assert [one for one in dicts if one.get("projectID") == PROJECT] == []
