"""The reading of kstatus, by the rules of its documentation."""

from typing import Any

import pytest

from argocd import kstatus


def resource(
    *conditions: tuple[str, str], observed: int | None = 2, generation: int = 2, going: bool = False
) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": [{"type": k, "status": s} for k, s in conditions]}
    if observed is not None:
        status["observedGeneration"] = observed
    deleted = {"deletionTimestamp": "2026-05-04T03:02:01Z"} if going else {}
    return {"metadata": {"generation": generation, **deleted}, "status": status}


@pytest.mark.parametrize(
    ("obj", "status"),
    [
        pytest.param({"metadata": {"generation": 1}}, "Current", id="no status at all"),
        pytest.param(resource(), "Current", id="no conditions"),
        pytest.param(resource(("Other", "False")), "Current", id="none of its conditions"),
        pytest.param(resource(observed=-1), "InProgress", id="default of the CRD"),
        pytest.param(resource(("Ready", "True"), observed=1), "InProgress", id="an older spec"),
        pytest.param(resource(("Ready", "True"), observed=3), "InProgress", id="a later spec"),
        pytest.param(resource(("Ready", "True"), observed=None), "Current", id="no generation"),
        pytest.param(resource(("Ready", "False")), "InProgress", id="not ready"),
        pytest.param(resource(("Ready", "Unknown")), "InProgress", id="ready unknown"),
        pytest.param(
            resource(("Ready", "False"), ("Reconciling", "True")), "InProgress", id="reconciling"
        ),
        pytest.param(resource(("Ready", "False"), ("Stalled", "True")), "Failed", id="stalled"),
        pytest.param(
            resource(("Ready", "True"), ("Stalled", "False")), "Current", id="stalled is False"
        ),
        pytest.param(
            resource(("Stalled", "True"), ("Reconciling", "True")), "Failed", id="both, in order"
        ),
        pytest.param(
            resource(("Stalled", "True"), observed=1), "InProgress", id="stalled, an older spec"
        ),
        pytest.param(resource(("Stalled", "True"), going=True), "Terminating", id="being deleted"),
    ],
)
def test_kstatus_of(obj: dict[str, Any], status: str) -> None:
    assert kstatus.read(obj) == status
