"""The scripts against their own test files, in the format of Argo CD's repository."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from argocd import merge_patch, sandbox
from argocd.history import check
from argocd.scripts import ACTIONS, DISCOVERY, HEALTH, KIND, TESTDATA, action, verdict

Json = dict[str, Any]

UPSTREAM_NOW = datetime(1, 1, 1, tzinfo=UTC)
"""What Argo CD's own tests put in the place of times that actions write."""


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


HEALTH_TESTS = load(KIND / "health_test.yaml")["tests"]
ACTION_TESTS = load(ACTIONS / "action_test.yaml")["actionTests"]
DISCOVERY_TESTS = load(ACTIONS / "action_test.yaml")["discoveryTests"]


def named(test: Json) -> str:
    return " ".join(filter(None, (test.get("action"), Path(test["inputPath"]).stem)))


@pytest.mark.parametrize("test", HEALTH_TESTS, ids=named)
def test_health_script_says_what_its_test_file_says(test: Json) -> None:
    said = sandbox.health(HEALTH, load(KIND / test["inputPath"]))

    assert said == test["healthStatus"]


@pytest.mark.parametrize("path", sorted(TESTDATA.iterdir()), ids=lambda path: path.stem)
def test_health_agrees_with_kstatus(path: Path) -> None:
    check(load(path))


def test_health_test_file_leaves_no_status_out() -> None:
    assert {KIND / test["inputPath"] for test in HEALTH_TESTS} == set(TESTDATA.iterdir())


@pytest.mark.parametrize("test", DISCOVERY_TESTS, ids=named)
def test_discovery_says_what_its_test_file_says(test: Json) -> None:
    said = sandbox.actions(DISCOVERY, load(ACTIONS / test["inputPath"]))

    assert said == {row["name"]: row["disabled"] for row in test["result"]}


@pytest.mark.parametrize("test", ACTION_TESTS, ids=named)
def test_action_makes_what_its_test_file_says(test: Json) -> None:
    given = load(ACTIONS / test["inputPath"])

    made = sandbox.act(action(test["action"]), given, now=lambda: UPSTREAM_NOW)

    assert made == load(ACTIONS / test["expectedOutputPath"])


@pytest.mark.parametrize(
    ("name", "sample", "patch"),
    [
        ("suspend", "accepted", {"spec": {"suspend": True}}),
        ("resume", "suspended", {"spec": {"suspend": False}}),
        (
            "reconcile",
            "accepted",
            {"metadata": {"annotations": {"ims.otc.dev/reconcile-at": "2026-05-04T03:02:01Z"}}},
        ),
    ],
)
def test_action_changes_nothing_else(name: str, sample: str, patch: Json) -> None:
    given = load(ACTIONS / f"testdata/{sample}.yaml")
    given["metadata"]["managedFields"] = [{"fieldsV1": {"f:spec": {".": {}, "f:suspend": {}}}}]

    now = datetime(2026, 5, 4, 3, 2, 1, 999, tzinfo=UTC)
    made = sandbox.act(action(name), given, now=lambda: now)

    assert merge_patch.difference(given, made) == patch


def test_reconcile_keeps_the_annotations_of_others() -> None:
    given = load(ACTIONS / "testdata/accepted.yaml")
    given["metadata"]["annotations"] = {"example.com/theirs": "kept"}

    made = sandbox.act(action("reconcile"), given)

    assert made["metadata"]["annotations"]["example.com/theirs"] == "kept"


def condition(kind: str, status: str = "True", generation: int = 2, **more: str) -> Json:
    words = {"reason": "Why", "message": "Words.", **more}
    return {"type": kind, "status": status, "observedGeneration": generation, **words}


def resource(*conditions: Json, observed: int | None = 2, **metadata: Any) -> Json:
    """A resource of generation 2."""
    status = {} if observed is None else {"observedGeneration": observed}
    return {
        "metadata": {"name": "web", "generation": 2, **metadata},
        "spec": {"suspend": False},
        "status": {**status, "conditions": list(conditions)},
    }


GOING: Json = {"deletionTimestamp": "2026-05-04T03:02:01Z"}
READY = condition("Ready")


@pytest.mark.parametrize(
    ("obj", "health"),
    [
        pytest.param(resource(READY), "Healthy", id="ready"),
        pytest.param(resource(READY, observed=1), "Progressing", id="ready, of an older spec"),
        pytest.param(
            resource(condition("Ready", generation=1)),
            "Progressing",
            id="a condition that was not renewed with the rest",
        ),
        pytest.param(resource(READY, observed=-1), "Progressing", id="default of the CRD"),
        pytest.param(resource(READY, observed=None), "Progressing", id="no observedGeneration"),
        pytest.param(resource(READY, observed=3), "Progressing", id="restored from a backup"),
        pytest.param(resource(), "Progressing", id="no conditions"),
        pytest.param(
            {"metadata": {"generation": 1}, "spec": {}}, "Progressing", id="no status at all"
        ),
        pytest.param(resource(condition("Ready", "Unknown")), "Progressing", id="ready unknown"),
        pytest.param(resource(condition("Ready", "False")), "Progressing", id="only not ready"),
        pytest.param(
            resource(condition("Ready", "False"), condition("Stalled")), "Degraded", id="stalled"
        ),
        pytest.param(
            resource(READY, condition("Stalled", "False")), "Healthy", id="stalled is False"
        ),
        pytest.param(
            resource(condition("Ready", "False"), condition("Stalled", generation=1)),
            "Progressing",
            id="stalled, of an older spec",
        ),
        pytest.param(resource(READY, condition("Reconciling")), "Progressing", id="reconciling"),
        pytest.param(resource(condition("Reconciling")), "Progressing", id="reconciling alone"),
        pytest.param(resource(READY, **GOING), "Progressing", id="being deleted, ready"),
        pytest.param(
            resource(condition("Stalled"), **GOING), "Progressing", id="being deleted, stalled"
        ),
    ],
)
def test_health_of(obj: Json, health: str) -> None:
    assert verdict(obj) == health


@pytest.mark.parametrize(
    ("observed", "health"),
    [(2, "Suspended"), (1, "Progressing")],
    ids=["seen by the operator", "the operator may still be sending"],
)
def test_health_of_a_suspended_object(observed: int, health: str) -> None:
    obj = resource(condition("Ready", "False"), observed=observed)
    obj["spec"]["suspend"] = True

    assert verdict(obj) == health


def test_health_says_whose_finalizers_hold_an_object() -> None:
    held = resource(READY, **GOING, finalizers=["ims.otc.dev/reject", "foregroundDeletion"])

    said = sandbox.health(HEALTH, held)

    assert said["message"].endswith("ims.otc.dev/reject, foregroundDeletion")
    assert said["deletionMessage"] == said["message"]
