"""What the store takes from the watch, and what it leaves."""

import copy
import json
from typing import Any

from drive import KEY, Drive, spec

from image_share_operator.api import status_json
from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.types import RECONCILE_AT, REGIONS, Desired
from image_share_operator.controller.object_store import ObjectStore
from image_share_operator.planning.model import RuntimeState


def body(version: int = 1, **changes: Any) -> dict[str, Any]:
    made = copy.deepcopy(Drive().kube.body)
    made["metadata"]["resourceVersion"] = str(version)
    made["metadata"] |= changes.pop("metadata", {})
    return {**made, **changes}


def test_store_asks_for_a_pass_over_a_new_object() -> None:
    store = ObjectStore()

    assert store.observe(body()) == KEY
    assert len(store) == 1


def test_store_ignores_an_event_that_is_not_newer() -> None:
    store = ObjectStore()
    store.observe(body(5))

    assert store.observe(body(5, metadata={"generation": 9})) is None
    assert store.observe(body(4, metadata={"generation": 9})) is None


def test_store_compares_versions_as_numbers() -> None:
    store = ObjectStore()
    store.observe(body(9))

    assert store.observe(body(10, metadata={"generation": 2})) == KEY


def test_store_asks_for_no_pass_when_only_labels_changed() -> None:
    store = ObjectStore()
    store.observe(body(1))

    assert store.observe(body(2, metadata={"labels": {"a": "b"}})) is None


def test_store_asks_for_a_pass_when_someone_wrote_over_the_status() -> None:
    store = ObjectStore()
    store.observe(body(1))

    assert store.observe(body(2, status={"observedGeneration": 7})) == KEY


def test_store_keeps_what_it_knows_of_the_status_when_an_older_one_comes() -> None:
    store = ObjectStore()
    store.observe(body(1))
    entry = store.get(KEY)
    assert entry is not None
    known = status_json.read({"observedGeneration": 1, "summary": "1/1"})
    store.remember(entry, known=known, runtime=RuntimeState(generation=1), unsaved=True)
    store.accepted(entry, REGIONS["eu-de"])

    store.observe(body(2, metadata={"generation": 2}))

    new = store.get(KEY)
    assert new is not None
    assert (new.known, new.unsaved, new.generation) == (known, True, 2)
    assert new.accepted_by == REGIONS["eu-de"]


def test_store_has_a_version_of_the_same_object_that_is_not_newer() -> None:
    store = ObjectStore()
    store.observe(body(5))

    found = [(uid, version) for uid in ("u1", "u2") for version in (4, 5, 6)]
    assert [row for row in found if store.has_version(KEY, *row)] == [("u1", 4), ("u1", 5)]


def test_store_starts_again_when_the_object_was_replaced() -> None:
    store = ObjectStore()
    store.observe(body(5))
    entry = store.get(KEY)
    assert entry is not None
    store.remember(entry, known=entry.known, runtime=RuntimeState(generation=1), unsaved=False)

    assert store.observe(body(6, metadata={"uid": "u2"})) == KEY
    new = store.get(KEY)
    assert new is not None
    assert new.runtime == RuntimeState()


def test_store_takes_no_object_back_that_had_the_name_before() -> None:
    """The order of events is kept for each object, not for those of one name."""
    store = ObjectStore()
    store.observe(body(5, metadata={"uid": "u2"}))

    assert store.observe(body(3, metadata={"uid": "u1"})) is None
    store.forget(KEY, "u1")

    entry = store.get(KEY)
    assert entry is not None
    assert entry.uid == "u2"


def test_store_takes_in_nothing_that_became_old_since_it_was_read() -> None:
    store = ObjectStore()
    read = store.read(body(5, metadata={"generation": 9}))
    assert len(store) == 0
    store.observe(body(5))

    assert store.admit(read) is None

    entry = store.get(KEY)
    assert entry is not None
    assert entry.generation != 9


def test_store_takes_a_new_object_from_the_response_to_a_write() -> None:
    """The object was deleted and created again before the write."""
    store = ObjectStore()
    store.observe(body(5))
    entry = store.get(KEY)
    assert entry is not None

    store.saved(entry, body(7, metadata={"uid": "u2"}), entry.written)

    entry = store.get(KEY)
    assert entry is not None
    assert entry.uid == "u2"


def test_store_does_not_drop_the_object_that_took_the_name() -> None:
    store = ObjectStore()
    store.observe(body(5, metadata={"uid": "u2"}))

    store.forget(KEY, "u1")

    assert store.get(KEY) is not None


def test_store_keeps_an_object_whose_spec_can_not_be_read() -> None:
    store = ObjectStore()
    store.observe(body(1, spec=spec(region="atlantis")))

    entry = store.get(KEY)

    assert entry is not None
    assert isinstance(entry.desired, InvalidSpecError)
    assert "spec.region" in str(entry.desired)


def test_store_reads_a_spec_into_types() -> None:
    store = ObjectStore()
    store.observe(body(1))

    entry = store.get(KEY)

    assert entry is not None
    assert isinstance(entry.desired, Desired)
    assert entry.desired.endpoints == REGIONS["eu-de"]


def test_objects_share_their_namespace() -> None:
    store = ObjectStore()
    keys = [
        store.observe(json.loads(json.dumps(body(metadata={"name": name})))) for name in ("a", "b")
    ]

    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].namespace is keys[1].namespace


def test_store_keeps_the_first_characters_of_the_annotation_reconcile_at() -> None:
    store = ObjectStore()
    store.observe(body(1, metadata={"annotations": {RECONCILE_AT: "now" * 50_000}}))

    entry = store.get(KEY)

    assert entry is not None
    assert entry.reconcile_at == ("now" * 100)[:256]
