"""The model of selectors: its verdicts, and each of its checks can fail."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chaos import golden, truth
from chaos.golden import Gallery, Image
from chaos.history import History, Record, Version
from chaos.model import Json, Selector, Spec, Target
from chaos.tape import Put, Setting, Tape
from otc_simulator.defaults import OWNER_PROJECT_ID as OWNER

PROJECT, LINE, START = "a" * 32, "0" * 8, datetime(2026, 5, 4, tzinfo=UTC)
OLD, NEW = f"{LINE}-old", f"{LINE}-new"
WEB = Target("team", "web")
SELECTOR = Selector(line=LINE, newest=1, removal="Reject")
SPEC = Spec(images=(), project=PROJECT, secret="otc", selector=SELECTOR)


def image(image_id: str, created_s: float, **changes: Any) -> Image:
    row = {"owner": OWNER, "name": f"{LINE}-a-{created_s:.0f}"} | changes
    created_at = START + timedelta(seconds=created_s)
    return Image(
        id=image_id,
        line=LINE,
        project=PROJECT,
        created_at=created_at,
        created_s=created_s,
        **row,
    )


def gallery(*changes: tuple[float, dict[str, Any]], owner: str = OWNER) -> Gallery:
    """An old build, shared from the start; a new one, shared at 200 s."""
    made = Gallery()
    made.put(1.0, image(OLD, 1.0, owner=owner))
    made.put(200.0, image(NEW, 200.0))
    for at_s, change in changes:
        made.change(at_s, **change)
    return made


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {NEW: "Selected", OLD: "Superseded"}),
        ({"newest": 2}, {NEW: "Selected", OLD: "Selected"}),
        ({"exclude": (NEW,)}, {NEW: "Excluded", OLD: "Selected"}),
        ({"min_age_s": 200}, {NEW: "TooYoung", OLD: "Selected"}),
        ({"line": "1" * 8}, {}),
    ],
    ids=["newest", "two", "excluded", "young", "other names"],
)
def test_verdicts_follow_the_policy(changes: dict[str, Any], expected: dict[str, str]) -> None:
    images = [*gallery().of_line(LINE, 300.0), image("other", 250.0, owner="f" * 32)]

    assert golden.verdicts(replace(SELECTOR, **changes), PROJECT, images, 300.0) == expected


def complaints(built: Gallery, *puts: tuple[float, str, str], spec: Spec = SPEC) -> str:
    """Complaints about PUTs of (time, value, image)."""
    versions = [Version(generation=1, spec=spec, sent_s=0.0, done_s=0.1)]
    record = Record(target=WEB, versions=versions)
    tape = tuple(
        Put(
            at_s=at_s,
            user="user",
            token_project=PROJECT,
            body_project=PROJECT,
            value=value,
            settings=(Setting(image=sent, held="pending"),),
            status=200,
        )
        for at_s, value, sent in puts
    )
    known = History(logins=(), records={WEB: record})
    return "\n".join(golden.complaints(Tape(puts=tape, uses=(), faulty_calls=0), known, built))


REMOVAL = ((100.0, "accepted", OLD), (210.0, "accepted", NEW), (500.0, "rejected", OLD))


def test_removal_of_a_superseded_build_is_justified() -> None:
    assert complaints(gallery(), *REMOVAL) == ""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ([(300.0, {"image": NEW, "shared": False})], "was not superseded"),
        ([(300.0, {"image": NEW, "status": "deactivated"})], "was not superseded"),
        ([(300.0, {"image": NEW, "name": "retired"})], "was not superseded"),
        ([(150.0, {"image": OLD, "name": f"{LINE}-b-9"})], "was not superseded"),
        (
            [
                (150.0, {"image": OLD, "name": f"{LINE}-b-9"}),
                (480.0, {"image": OLD, "name": f"{LINE}-a-9"}),
            ],
            "was not superseded with a name of",
        ),
    ],
    ids=["withdrawn", "deactivated", "successor renamed", "other group", "renamed just before"],
)
def test_removal_that_nothing_justifies_is_reported(
    changes: list[tuple[float, dict[str, Any]]], complaint: str
) -> None:
    assert complaint in complaints(gallery(*changes), *REMOVAL)


@pytest.mark.parametrize(
    "policy", [{"removal": "Retain"}, {"newest": 2}, {"limit": 0}], ids=["retain", "two", "limit"]
)
def test_removal_that_the_policy_forbids_is_reported(policy: dict[str, Any]) -> None:
    spec = replace(SPEC, selector=replace(SELECTOR, **policy))

    assert "was not superseded" in complaints(gallery(), REMOVAL[-1], spec=spec)


@pytest.mark.parametrize(
    "policy",
    [{"exclude": (NEW,)}, {"min_age_s": 3600}, {"limit": 0}],
    ids=["excluded", "young", "limit"],
)
def test_acceptance_that_the_policy_forbids_is_reported(policy: dict[str, Any]) -> None:
    spec = replace(SPEC, selector=replace(SELECTOR, **policy))

    assert "was not selected" in complaints(gallery(), (500.0, "accepted", NEW), spec=spec)


def test_acceptance_of_an_old_build_is_reported() -> None:
    assert "was not selected" in complaints(gallery(), (500.0, "accepted", OLD))


def test_image_that_was_selected_stays_above_the_limit() -> None:
    spec = replace(SPEC, selector=replace(SELECTOR, newest=2, limit=1))

    assert complaints(gallery(), (500.0, "accepted", OLD), spec=spec) == ""
    assert "was not selected" in complaints(gallery(), (500.0, "accepted", NEW), spec=spec)


def test_put_of_an_image_of_another_owner_is_reported() -> None:
    sent = (100.0, "accepted", OLD)

    assert "which belongs to" in complaints(gallery(owner="f" * 32), sent)


def body(spec: Spec = SPEC, **status: Any) -> Json:
    """The resource after the new build was accepted and the old one rejected."""
    ready = {"type": "Ready", "status": "True", "reason": "Accepted", "message": ""}
    rows = [row(NEW, "Selected", "accepted"), row(OLD, "Superseded", "rejected")]
    said = {
        "observedGeneration": 1,
        "conditions": [{**ready, "observedGeneration": 1}],
        "images": rows,
        "latest": [{"group": f"{LINE}-a", "id": NEW}],
        "selected": 1,
        "summary": "1/1",
    }
    return {"metadata": {"generation": 1}, "spec": spec, "status": said | status}


def row(image_id: str, selection: str, membership: str) -> Json:
    found = {"id": image_id, "selection": selection, "membership": membership, "jobID": "job"}
    return {**found, "name": f"{LINE}-a-1"}


def wrong_status(shown: Json, **held: str) -> str:
    """Complaints about a live resource; memberships by the word old or new."""
    known = {"old": "rejected", "new": "accepted"} | held
    members = {(OLD, PROJECT): known["old"], (NEW, PROJECT): known["new"]}
    record = Record(
        target=WEB, versions=[Version(generation=1, spec=shown["spec"], sent_s=0.0, done_s=0.1)]
    )
    return "\n".join(truth.complaints([record], {WEB: shown}, members, gallery(), 300.0))


RETAINED = [row(NEW, "Selected", "accepted"), row(OLD, "Superseded", "accepted")]


def with_policy(**policy: Any) -> Spec:
    return replace(SPEC, selector=replace(SELECTOR, **policy))


@pytest.mark.parametrize(
    ("shown", "held", "complaint"),
    [
        (body(), {}, ""),
        (body(), {"new": "pending"}, "the cloud holds pending"),
        (body(images=RETAINED), {"old": "accepted"}, "and does not reject it"),
        (body(with_policy(removal="Retain"), images=RETAINED), {"old": "accepted"}, ""),
        (body(images=RETAINED[:1]), {}, f"says None of image {OLD}, which is Superseded"),
        (body(with_policy(newest=2)), {}, f"says Superseded of image {OLD}, which is Selected"),
        (body(with_policy(limit=0)), {}, "Ready is True Accepted, not False LimitExceeded"),
        (body(with_policy(exclude=(NEW, OLD))), {}, "not False NothingSelected"),
        (body(replace(SPEC, dry_run=True)), {}, ""),
        (body(replace(SPEC, dry_run=True)), {"new": "pending"}, "Accepted, not False DryRun"),
        (body(latest=[]), {}, "latest is {}, not"),
        (body(selected=2), {}, "selected is 2, not 1"),
    ],
    ids=[
        "true",
        "cloud",
        "removal",
        "retained",
        "row",
        "verdict",
        "limit",
        "nothing",
        "dry and done",
        "dry",
        "latest",
        "count",
    ],
)
def test_wrong_status_of_a_selector_is_reported(
    shown: Json, held: dict[str, str], complaint: str
) -> None:
    found = wrong_status(shown, **held)

    assert complaint in found
    assert bool(found) is bool(complaint)


@pytest.mark.parametrize(
    ("status", "complaint"), [("active", "hangs in deletion"), ("deactivated", "")]
)
def test_deletion_may_wait_for_an_image_that_is_not_active(status: str, complaint: str) -> None:
    record = Record(
        target=WEB,
        versions=[Version(generation=2, spec=SPEC, sent_s=400.0, done_s=400.1, leaving=True)],
        deleted=True,
        held=True,
        rejects=frozenset({OLD}),
    )
    built = gallery((300.0, {"image": OLD, "status": status}))
    found = truth.complaints([record], {WEB: body()}, {}, built, 500.0)

    assert complaint in "\n".join(found)
    assert bool(found) is bool(complaint)


def test_deletion_of_a_list_waits_for_no_owner() -> None:
    listed = replace(SPEC, selector=None, images=("image-1",))
    record = Record(
        target=WEB,
        versions=[Version(generation=2, spec=listed, sent_s=400.0, done_s=400.1, leaving=True)],
        deleted=True,
        held=True,
        rejects=frozenset({"image-1"}),
    )
    found = truth.complaints([record], {WEB: body()}, {}, gallery(), 500.0)

    assert "hangs in deletion" in found[0]


@pytest.mark.parametrize(
    ("held", "complaint"), [("rejected", ""), ("accepted", f"but image {OLD} is accepted")]
)
def test_deletion_of_a_selector_rejects_its_images(held: str, complaint: str) -> None:
    record = Record(
        target=WEB,
        versions=[Version(generation=2, spec=SPEC, sent_s=400.0, done_s=400.1, leaving=True)],
        deleted=True,
        deleted_s=400.0,
        held=True,
        rejects=frozenset({OLD}),
    )
    found = truth.complaints([record], {}, {(OLD, PROJECT): held}, gallery(), 500.0)

    assert complaint in "\n".join(found)
    assert bool(found) is bool(complaint)


def kept(built: Gallery, *, failed: bool = False, **held: str) -> list[str]:
    """Complaints about the old build, which job-1 accepted at 100 s; 300 s is now."""
    carried = {(OLD, "job-1")}
    versions = [Version(generation=1, spec=SPEC, sent_s=0.0, done_s=0.1)]
    record = Record(target=WEB, versions=versions, carried=carried)
    put = Put(
        at_s=100.0,
        user="user",
        token_project=PROJECT,
        body_project=PROJECT,
        value="accepted",
        settings=(Setting(image=OLD, held="pending", applied=True),),
        status=200,
        job="job-1",
        failed=failed,
    )
    members = {(OLD, PROJECT): held.get("old", "accepted")}
    known = History(logins=(), records={WEB: record})
    return golden.kept(Tape(puts=(put,), uses=(), faulty_calls=0), known, built, members, 300.0)


def test_superseded_image_that_was_not_rejected_is_reported() -> None:
    assert "did not reject it" in kept(gallery())[0]
    assert kept(gallery(), old="rejected") == []


def test_image_may_stay_accepted_after_its_job_reported_a_failure() -> None:
    assert kept(gallery(), failed=True) == []


@pytest.mark.parametrize(
    "change",
    [{"image": OLD, "status": "active"}, {"image": NEW, "name": f"{LINE}-a-9"}],
    ids=["changed", "renamed"],
)
def test_image_may_stay_accepted_after_a_change(change: dict[str, Any]) -> None:
    assert kept(gallery((250.0, change))) == []
