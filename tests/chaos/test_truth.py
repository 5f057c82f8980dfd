"""Each lie of an object, and each difference between cloud and spec, is found."""

import pytest

from chaos import truth
from chaos.forged import (
    IMAGE,
    OTHER,
    PROJECT,
    SECOND,
    WEB,
    body,
    condition,
    ready,
    record,
    spec,
    version,
)
from chaos.history import Record
from chaos.model import Json

ACCEPTED = {(IMAGE, PROJECT): "accepted"}
MESSAGE = "Suspended: nothing is sent."
FALSE = "False"


def of(one: Record, shown: Json | None, members: dict[tuple[str, str], str] | None = None) -> str:
    """All complaints about one object."""
    bodies = {} if shown is None else {WEB: shown}
    held = ACCEPTED if members is None else members
    return "\n".join(truth.complaints([one], bodies, held))


def test_object_that_tells_the_truth_is_fine() -> None:
    assert of(record(), body()) == ""


@pytest.mark.parametrize(
    ("shown", "complaint"),
    [
        (body(ready("JobRunning", FALSE)), "Ready is False JobRunning, not True Accepted"),
        (body(ready("Rejected")), "Ready is True Rejected, not True Accepted"),
        (body(ready(), condition("Stalled", "X")), "besides Ready there are {'Stalled': 'X'}"),
        (body(observedGeneration=-1), "observedGeneration of status is -1, not 1"),
        (body(ready(generation=0)), "observedGeneration of Ready is 0, not 1"),
        (body(summary="0/1"), "summary is 0/1, not 1/1"),
        (body(images=[]), f"says None of image {IMAGE}, which is accepted"),
        (
            body(images=[*body()["status"]["images"], {"id": SECOND, "membership": "pending"}]),
            f"says pending of image {SECOND}, which is not its own",
        ),
        (body(generation=2), "generation is 2, not 1"),
    ],
    ids=[
        "not Ready",
        "Ready for the wrong reason",
        "a condition too many",
        "never looked at",
        "a condition of an older generation",
        "a wrong summary",
        "a row too few",
        "a row too many",
        "a generation that nobody made",
    ],
)
def test_object_that_lies_is_named(shown: Json, complaint: str) -> None:
    said = of(record(), shown)

    assert complaint in said
    assert said.startswith("team/web: ")


def test_ready_although_the_cloud_holds_something_else_is_named() -> None:
    said = of(record(), body(), {(IMAGE, PROJECT): "rejected"})

    assert f"wants image {IMAGE} accepted, the cloud holds rejected" in said
    assert f"says accepted of image {IMAGE}, which is rejected" in said


def test_ready_although_the_share_was_withdrawn_is_named() -> None:
    assert "Ready is True Accepted, not False NotShared" in of(record(), body(), {})


def test_share_that_is_waited_for_is_fine() -> None:
    shown = body(
        ready("NotShared", FALSE),
        condition("Reconciling", "WaitingForShare"),
        images=[{"id": IMAGE, "membership": "notShared"}],
        summary="0/1",
    )

    assert of(record(), shown, {}) == ""


@pytest.mark.parametrize(
    ("secret", "reason"),
    [("never", "SecretNotFound"), ("bad-key", "CredentialsInvalid")],
    ids=["no Secret", "a Secret without a key"],
)
def test_bad_credentials_must_be_told(secret: str, reason: str) -> None:
    shown = body(ready(reason, FALSE), condition("Stalled", reason), images=[])

    bad = record(version(1, 0.0, spec(secret=secret)))

    assert of(bad, shown, {}) == ""
    assert f"not False {reason}" in of(bad, body(), {})


def test_suspended_object_must_say_so() -> None:
    suspended = record(version(1, 0.0, spec(suspend=True)))

    assert "does not say that it is suspended" in of(suspended, body())
    assert of(suspended, body({**ready(), "message": MESSAGE})) == ""


def test_object_that_hangs_in_deletion_is_named() -> None:
    assert "hangs in deletion" in of(record(deleted=True), body())


def test_share_that_was_left_accepted_is_named() -> None:
    said = of(record(deleted=True), None)

    assert said == f"team/web: deleted with Reject, but image {IMAGE} is accepted"


@pytest.mark.parametrize("held", ["rejected", None], ids=["rejected", "not shared any more"])
def test_share_that_was_rejected_at_the_end_is_fine(held: str | None) -> None:
    members = {(IMAGE, PROJECT): held} if held else {}

    assert of(record(deleted=True), None, members) == ""


def test_object_that_vanished_is_named() -> None:
    assert "is gone although nobody deleted it" in of(record(), None)


def test_object_that_nobody_created_is_named() -> None:
    found = truth.complaints([record()], {WEB: body(), OTHER: body()}, ACCEPTED)

    assert found == ["team/other: nobody created it"]
