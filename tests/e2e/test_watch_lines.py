"""The event filter reads the watch lines of a real API server; no operator runs."""

import json

import pytest

from e2e.conftest import RESOURCES, apply_status, create, full_status
from envtest import ControlPlane
from image_share_operator.api import status_json as status_room
from image_share_operator.api.types import Key
from image_share_operator.kube.watch.event_filter import EventFilter

LOOKS = {"name": "other", "namespace": "other", "resourceVersion": "1", "uid": "other"}
"""What users may write that looks like an object's identity."""


@pytest.mark.parametrize("where", ["labels", "annotations"])
def test_own_status_update_is_recognized_by_its_line(
    control_plane: ControlPlane, namespace: str, where: str
) -> None:
    made = create(control_plane, namespace)
    path = RESOURCES.format(namespace=namespace)
    control_plane.http.patch(
        f"{path}/{made['metadata']['name']}",
        json={"metadata": {where: LOOKS}},
        headers={"Content-Type": "application/merge-patch+json"},
    ).raise_for_status()
    answer = apply_status(control_plane, made, status_room.write(full_status()))
    written = int(answer.raise_for_status().json()["metadata"]["resourceVersion"])
    asked: list[tuple[Key, str, int]] = []

    def known(key: Key, uid: str, version: int) -> bool:
        asked.append((key, uid, version))
        return version == written

    since = made["metadata"]["resourceVersion"]
    stream = control_plane.http.get(
        f"{path}?watch=true&timeoutSeconds=1&resourceVersion={since}", timeout=30
    )
    event_filter = EventFilter(known)
    passed = [line for line in stream.text.splitlines() if event_filter.passes(line.encode())]

    metadata = made["metadata"]
    who = (Key(namespace, metadata["name"]), metadata["uid"])
    assert [one[:2] for one in asked] == [who, who]
    assert asked[-1][2] == written
    assert [json.loads(line)["object"]["metadata"][where] for line in passed] == [LOOKS]
