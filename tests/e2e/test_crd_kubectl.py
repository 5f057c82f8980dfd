"""What kubectl shows of a resource, by the CRD alone; no operator runs."""

import pytest

from e2e.conftest import JOB_ID, OTHER_PROJECT, PROJECT, apply_status, create, full_status
from envtest import ControlPlane
from image_share_operator.api import status_json as status_room

SELECTABLE_FIELDS_ON_MINOR = 31


@pytest.fixture
def shown(control_plane: ControlPlane, namespace: str) -> str:
    """The namespace of one resource with a full status."""
    made = create(control_plane, namespace)
    apply_status(control_plane, made, status_room.write(full_status())).raise_for_status()
    return namespace


def test_get_shows_the_columns(control_plane: ControlPlane, shown: str) -> None:
    header, row = control_plane.kubectl("get", "isa", "-n", shown).splitlines()

    assert header.split() == ["NAME", "DECISION", "READY", "REASON", "IMAGES", "AGE"]
    assert row.split()[1:-1] == ["Accept", "True", "PartiallyFailed", "0/1"]


def test_get_wide_shows_more_columns(control_plane: ControlPlane, shown: str) -> None:
    header, row = control_plane.kubectl("get", "otc", "-n", shown, "-o", "wide").splitlines()

    assert header.split()[-4:] == ["SELECTED", "PROJECT", "MESSAGE", "JOB-ID"]
    assert row.split()[6:] == ["1", PROJECT, "Look", "at", "the", "images.", JOB_ID]


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        (f"spec.projectID={PROJECT}", 2),
        (f"spec.projectID={OTHER_PROJECT}", 0),
        ("spec.region=eu-de", 1),
        ("spec.region=eu-nl", 1),
        ("spec.decision=Reject", 1),
        (f"spec.decision=Accept,spec.projectID={PROJECT}", 1),
    ],
)
def test_field_selector_selects_resources(
    control_plane: ControlPlane, namespace: str, selector: str, count: int
) -> None:
    if control_plane.minor < SELECTABLE_FIELDS_ON_MINOR:
        pytest.skip("selectable fields are on by default in Kubernetes 1.31 and newer")
    create(control_plane, namespace)
    create(control_plane, namespace, decision="Reject", region="eu-nl")

    found = control_plane.kubectl(
        "get", "isa", "-n", namespace, "-o", "name", "--field-selector", selector
    )

    assert len(found.split()) == count


def test_wait_takes_the_ready_condition(control_plane: ControlPlane, shown: str) -> None:
    said = control_plane.kubectl("wait", "isa", "--all", "-n", shown, "--for=condition=Ready")

    assert "condition met" in said


@pytest.mark.parametrize(
    "field",
    [
        *("", ".spec", ".spec.endpoints", ".spec.imageSelectorTerms"),
        *(".spec.imageSelectionPolicy", ".status", ".status.job", ".status.images"),
        ".status.latest",
    ],
    ids=lambda field: f"isa{field}",
)
def test_explain_leaves_no_field_without_words(control_plane: ControlPlane, field: str) -> None:
    said = control_plane.kubectl("explain", f"isa{field}")

    assert "DESCRIPTION:" in said
    assert "<no description>" not in said


def test_explain_names_units_and_bounds(control_plane: ControlPlane) -> None:
    said = " ".join(control_plane.kubectl("explain", "isa.spec.timeout").split())

    assert "from 30s to 24h, such as 10m or 1h30m" in said


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("spec.imageSelectorTerms", "Set 1 to 16 terms."),
        ("spec.imageSelectorTerms.owner", "There is no wildcard"),
        ("spec.imageSelectorTerms.name", "If it is not set, all names match."),
        ("spec.imageSelectionPolicy.groupBy", "It has up to one capture group."),
        ("spec.imageSelectionPolicy.newest", "from 1 to 500"),
        ("spec.imageSelectionPolicy.minAge", "from 0s to 8760h, such as 24h"),
        ("spec.imageSelectionPolicy.exclude", "up to 500 IDs"),
        ("spec.imageSelectionPolicy.limit", "Stalled with reason LimitExceeded"),
        ("spec.removalPolicy", "Retain keeps its membership"),
        ("spec.dryRun", "The operator submits nothing."),
    ],
)
def test_explain_says_how_to_select_images(
    control_plane: ControlPlane, field: str, words: str
) -> None:
    said = " ".join(control_plane.kubectl("explain", f"isa.{field}").split())

    assert words in said
