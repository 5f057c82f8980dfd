"""How the API server keeps `.status`, by the CRD alone; no operator runs."""

import pytest

from e2e.conftest import (
    IMAGE,
    JOB_ID,
    OWNER,
    RESOURCES,
    Json,
    apply_status,
    create,
    document,
    full_status,
    patch_spec,
    read,
    same_wording,
)
from envtest import ControlPlane
from image_share_operator.api import status_json as status_room


def test_status_reports_that_no_reconcile_has_run_yet(
    control_plane: ControlPlane, namespace: str
) -> None:
    made = create(control_plane, namespace)

    assert made["status"] == {"observedGeneration": -1}


def test_status_in_a_manifest_is_dropped(control_plane: ControlPlane, namespace: str) -> None:
    body = document() | {"status": {"observedGeneration": 7, "summary": "1/1"}}
    made = control_plane.http.post(RESOURCES.format(namespace=namespace), json=body).json()

    assert read(control_plane, made)["status"] == {"observedGeneration": -1}


def test_status_keeps_all_that_the_operator_writes(
    control_plane: ControlPlane, namespace: str
) -> None:
    made = create(control_plane, namespace)
    written = status_room.write(full_status())
    apply_status(control_plane, made, written).raise_for_status()

    stored = read(control_plane, made)["status"]

    assert stored == written
    assert status_room.read(stored) == full_status()


def test_status_write_leaves_spec_and_generation_alone(
    control_plane: ControlPlane, namespace: str
) -> None:
    made = create(control_plane, namespace)
    said = {"observedGeneration": 1, "summary": "1/1"}
    apply_status(control_plane, made, said).raise_for_status()

    stored = read(control_plane, made)

    assert stored["status"] == said
    assert stored["spec"] == made["spec"]
    assert stored["metadata"]["generation"] == 1


def test_spec_write_leaves_the_status_alone(control_plane: ControlPlane, namespace: str) -> None:
    made = create(control_plane, namespace)
    written = status_room.write(full_status())
    apply_status(control_plane, made, written).raise_for_status()

    patch_spec(control_plane, made, suspend=True).raise_for_status()

    assert read(control_plane, made)["status"] == written


def test_shorter_status_removes_what_it_does_not_say(
    control_plane: ControlPlane, namespace: str
) -> None:
    made = create(control_plane, namespace)
    apply_status(control_plane, made, status_room.write(full_status())).raise_for_status()

    apply_status(control_plane, made, {"observedGeneration": 2}).raise_for_status()

    assert read(control_plane, made)["status"] == {"observedGeneration": 2}


READY: Json = {
    "type": "Ready",
    "status": "True",
    "reason": "Accepted",
    "message": "1 image accepted.",
    "lastTransitionTime": "2026-05-04T03:02:01Z",
}
JOB: Json = {"id": JOB_ID, "generation": 1, "status": "INIT", "submittedAt": "2026-05-04T03:02:01Z"}
LATEST: Json = {"group": "", "id": IMAGE, "owner": OWNER, "since": "2026-05-04T03:02:01Z"}

REFUSED: dict[str, tuple[Json, str]] = {
    "a membership that the contract does not know": (
        {"images": [{"id": IMAGE, "membership": "lost"}]},
        'status.images[0].membership: Unsupported value: "lost"',
    ),
    "two rows for one image": (
        {"images": [{"id": IMAGE, "membership": "pending"}] * 2},
        "duplicate entries for key",
    ),
    "a job state that the contract does not know": (
        {"job": JOB | {"status": "success"}},
        'status.job.status: Unsupported value: "success"',
    ),
    "a job with a decision that the contract does not know": (
        {"job": JOB | {"decision": "accepted"}},
        'status.job.decision: Unsupported value: "accepted"',
    ),
    "a job sent at no time": (
        {"job": JOB | {"submittedAt": "yesterday"}},
        "job.submittedAt in body must be of type date-time",
    ),
    "a result of the selection that the contract does not know": (
        {"images": [{"id": IMAGE, "membership": "pending", "selection": "selected"}]},
        'status.images[0].selection: Unsupported value: "selected"',
    ),
    "an image that was created at no time": (
        {"images": [{"id": IMAGE, "membership": "pending", "createdAt": "yesterday"}]},
        "images[0].createdAt in body must be of type date-time",
    ),
    "501 latest images": (
        {"latest": [LATEST] * 501},
        "status.latest: Too many: 501: must have at most 500 items",
    ),
    "fewer images than none": ({"selected": -1}, "should be greater than or equal to 0"),
    "two conditions of one type": ({"conditions": [READY, READY]}, "duplicate entries for key"),
    "a condition that is a sentence": (
        {"conditions": [READY | {"reason": "All is well"}]},
        "conditions[0].reason in body should match",
    ),
    "a condition that is neither true nor false nor unknown": (
        {"conditions": [READY | {"status": "true"}]},
        'status.conditions[0].status: Unsupported value: "true"',
    ),
    "a condition without a reason": (
        {"conditions": [READY | {"reason": ""}]},
        "conditions[0].reason in body should be at least 1 chars long",
    ),
    "a condition that changed at no time": (
        {"conditions": [READY | {"lastTransitionTime": "yesterday"}]},
        "conditions[0].lastTransitionTime in body must be of type date-time",
    ),
    "a condition of a spec that never was": (
        {"conditions": [READY | {"observedGeneration": -1}]},
        "conditions[0].observedGeneration in body should be greater than or equal to 0",
    ),
    "a condition whose type is a sentence": (
        {"conditions": [READY | {"type": "It is ready"}]},
        "conditions[0].type in body should match",
    ),
    "a field that the schema lacks": ({"phase": "Done"}, ".status.phase: field not declared"),
}


@pytest.mark.parametrize(("status", "words"), REFUSED.values(), ids=REFUSED)
def test_status_is_refused(
    control_plane: ControlPlane, namespace: str, status: Json, words: str
) -> None:
    made = create(control_plane, namespace)

    answer = apply_status(control_plane, made, {"observedGeneration": 1} | status)

    assert answer.is_error
    assert same_wording(words) in same_wording(answer.json()["message"])


COMPLETE: dict[str, tuple[str, Json, str]] = {
    "conditions": ("conditions[0]", READY, "status reason message lastTransitionTime"),
    "job": ("job", JOB, "id generation status submittedAt"),
    "images": ("images[0]", {"id": IMAGE, "membership": "pending"}, "membership"),
    "latest": ("latest[0]", LATEST, "group id owner since"),
}
NEEDED = [(part, field) for part, (_, _, fields) in COMPLETE.items() for field in fields.split()]


@pytest.mark.parametrize(("part", "field"), NEEDED, ids=lambda word: word)
def test_status_needs_all_parts_of_a_row(
    control_plane: ControlPlane, namespace: str, part: str, field: str
) -> None:
    path, whole, _ = COMPLETE[part]
    made = create(control_plane, namespace)
    row = {name: value for name, value in whole.items() if name != field}

    answer = apply_status(control_plane, made, {part: [row] if path.endswith("]") else row})

    required = same_wording(f"status.{path}.{field}: Required value")
    assert required in same_wording(answer.json()["message"])


def test_second_apply_of_a_manifest_changes_nothing(
    control_plane: ControlPlane, namespace: str
) -> None:
    manifest = document() | {"metadata": {"name": "one", "namespace": namespace}}
    control_plane.apply(manifest)
    apply_status(control_plane, manifest, status_room.write(full_status())).raise_for_status()
    before = read(control_plane, manifest)

    control_plane.apply(manifest)

    assert read(control_plane, manifest) == before


def test_operator_owns_nothing_but_the_status(control_plane: ControlPlane, namespace: str) -> None:
    made = create(control_plane, namespace)
    apply_status(control_plane, made, status_room.write(full_status())).raise_for_status()

    owned = next(
        row
        for row in read(control_plane, made)["metadata"]["managedFields"]
        if row["manager"] == "operator"
    )

    assert owned["subresource"] == "status"
    assert list(owned["fieldsV1"]) == ["f:status"]
