"""What `deploy/argocd` gives to an Argo CD: its configuration and the Applications."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from argocd import config_map, sandbox
from argocd.scripts import ACTIONS, ARGOCD, DISCOVERY, HEALTH, action
from chart.programs import CHART, Helm

WAVE = "argocd.argoproj.io/sync-wave"
Json = dict[str, Any]
SUFFIX = "ims.otc.dev_ImageShareAcceptance"


def data(name: str) -> dict[str, str]:
    found: dict[str, str] = yaml.safe_load((ARGOCD / name).read_text())["data"]
    return found


@pytest.fixture
def applications() -> dict[str, Json]:
    """By name."""
    documents = yaml.safe_load_all((ARGOCD / "application.yaml").read_text())
    return {document["metadata"]["name"]: document for document in documents}


@pytest.fixture
def rendered(applications: dict[str, Json], tmp_path: Path) -> list[Json]:
    """What the Application of the operator makes of the chart."""
    helm = applications["image-share-operator"]["spec"]["source"]["helm"]
    return Helm(tmp_path).render(helm["valuesObject"])


def the(documents: list[Json], kind: str) -> Json:
    """The only object of its kind."""
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def wave(document: Json) -> int:
    return int(document["metadata"].get("annotations", {}).get(WAVE, "0"))


def test_config_map_is_up_to_date() -> None:
    stored = config_map.TARGET.read_text()

    assert stored == config_map.rendered(), "run python -m argocd.config_map --write"


def test_config_map_holds_the_scripts_letter_by_letter() -> None:
    stored = data("argocd-cm.yaml")
    actions = yaml.safe_load(stored[f"resource.customizations.actions.{SUFFIX}"])

    assert stored[f"resource.customizations.health.{SUFFIX}"] == HEALTH
    assert actions["discovery.lua"] == DISCOVERY
    assert {row["name"]: row["action.lua"] for row in actions["definitions"]} == {
        path.parent.name: action(path.parent.name) for path in ACTIONS.glob("*/action.lua")
    }


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (None, {"status": "Progressing", "message": ""}),
        ({"sync": {}}, {"status": "Progressing", "message": ""}),
        ({"health": {"status": "Healthy"}}, {"status": "Healthy", "message": ""}),
        (
            {"health": {"status": "Degraded", "message": "web"}},
            {"status": "Degraded", "message": "web"},
        ),
    ],
    ids=["only just made", "not compared yet", "healthy", "degraded"],
)
def test_application_is_as_healthy_as_it_says(status: Any, health: dict[str, str]) -> None:
    (script,) = data("argocd-cm-applications.yaml").values()

    assert sandbox.health(script, {"status": status}) == health


@pytest.mark.parametrize(
    ("phase", "finished", "sync", "health"),
    [
        ("Running", None, "OutOfSync", "Progressing"),
        ("Running", None, "Synced", "Progressing"),
        ("Succeeded", "2026-05-04T03:02:02Z", "OutOfSync", "Progressing"),
        ("Succeeded", "2026-05-04T03:02:01Z", "OutOfSync", "Progressing"),
        ("Succeeded", "2026-05-04T03:02:01Z", "Synced", "Healthy"),
        ("Succeeded", "2026-05-04T03:02:00Z", "OutOfSync", "Healthy"),
    ],
    ids=[
        "during a sync",
        "during another sync",
        "not compared since",
        "perhaps not compared since",
        "compared since, synced",
        "compared since, another drift",
    ],
)
def test_application_is_not_healthy_before_all_waves_are_compared(
    phase: str, finished: str | None, sync: str, health: str
) -> None:
    """Seen with Argo CD 3.6.1: Healthy between two waves, without the objects of the second one."""
    (script,) = data("argocd-cm-applications.yaml").values()
    status = {
        "health": {"status": "Healthy"},
        "sync": {"status": sync},
        "operationState": {"phase": phase, "finishedAt": finished},
        "reconciledAt": "2026-05-04T03:02:01Z",
    }

    assert sandbox.health(script, {"status": status})["status"] == health


def test_resources_come_after_the_operator(applications: dict[str, Json]) -> None:
    assert wave(applications["image-share-operator"]) < wave(applications["image-shares"])


def test_crd_comes_before_the_operator(rendered: list[Json]) -> None:
    crd = the(rendered, "CustomResourceDefinition")

    assert wave(crd) < wave(the(rendered, "Deployment"))
    assert {wave(document) for document in rendered if document is not crd} == {0}


def test_crd_outlives_the_application(rendered: list[Json]) -> None:
    annotations = the(rendered, "CustomResourceDefinition")["metadata"]["annotations"]

    options = set(annotations["argocd.argoproj.io/sync-options"].split(","))
    assert {"Prune=false", "Delete=false"} <= options


@pytest.mark.parametrize("name", ["image-share-operator", "image-shares"])
def test_application_applies_and_compares_by_the_server(
    applications: dict[str, Json], name: str
) -> None:
    application = applications[name]
    options = application["metadata"]["annotations"]["argocd.argoproj.io/compare-options"]

    assert "ServerSideApply=true" in application["spec"]["syncPolicy"]["syncOptions"]
    assert options == "ServerSideDiff=true"
    assert "ignoreDifferences" not in application["spec"]


def test_application_of_the_operator_leads_to_the_chart(applications: dict[str, Json]) -> None:
    path = applications["image-share-operator"]["spec"]["source"]["path"]

    assert ARGOCD.parents[1] / path == CHART
