"""Each PUT of a wrong value, for a foreign project or with a foreign token is found."""

import pytest

from chaos import rights
from chaos.forged import (
    IMAGE,
    MINE,
    OTHER_PROJECT,
    PROJECT,
    SECOND,
    THEIRS,
    history,
    put,
    record,
    sight,
    spec,
    tape,
    version,
)
from chaos.history import Window
from chaos.tape import Put, Use

REJECT = spec(decision="Reject")
EDITED = record(version(1, 0.0), version(2, 10.0, REJECT), sights=[sight(1.0, 1), sight(12.0, 2)])


def wrong(*puts: Put) -> str:
    return "\n".join(rights.wrong_values(tape(*puts), history(EDITED)))


def test_values_that_the_spec_wants_are_fine() -> None:
    assert wrong(put(1.0), put(11.0, "rejected")) == ""


def test_older_value_is_fine_while_the_edit_was_not_seen() -> None:
    assert wrong(put(11.0)) == ""


@pytest.mark.parametrize(
    ("one", "complaint"),
    [
        (put(13.0), "generation 1 was seen to be superseded 1.00 s before"),
        (put(9.0, "rejected"), "generation 2 came 1.00 s later"),
        (put(1.0, "pending"), "generation 1 wants accepted"),
        (put(1.0, user=THEIRS.user_id), "team/web has another Secret"),
        (put(1.0, body_project=OTHER_PROJECT), "generation 1 does not name it"),
    ],
    ids=[
        "an older value after the edit was seen",
        "a value that nobody wanted yet",
        "a value that nobody ever wanted",
        "somebody else's token",
        "somebody else's project",
    ],
)
def test_wrong_value_is_named(one: Put, complaint: str) -> None:
    said = wrong(one)

    assert complaint in said
    assert IMAGE in said


def test_image_that_no_object_names_is_named() -> None:
    other = record(version(1, 0.0, spec(SECOND)))

    assert "no object names it" in rights.wrong_values(tape(put(1.0)), history(other))[0]


def test_put_for_a_suspended_object_is_named() -> None:
    suspended = record(version(1, 0.0, spec(suspend=True)))

    assert "is suspended" in rights.wrong_values(tape(put(1.0)), history(suspended))[0]


def test_edit_that_is_overlooked_for_long_is_named_although_no_status_tells() -> None:
    overlooked = record(version(1, 0.0), version(2, 10.0, REJECT))
    known = history(overlooked)

    assert rights.wrong_values(tape(put(50.0)), known) == []
    assert "superseded 50 s before" in rights.wrong_values(tape(put(60.2)), known)[0]


def test_time_without_an_api_server_does_not_count() -> None:
    overlooked = record(version(1, 0.0), version(2, 10.0, REJECT))
    known = history(overlooked)
    known.outages.append(Window(11.0, 31.0))

    assert rights.wrong_values(tape(put(60.2)), known) == []


def test_put_that_waited_in_a_frozen_cloud_was_sent_before() -> None:
    known = history(EDITED)
    known.freezes.append(Window(11.5, 12.5))

    assert rights.wrong_values(tape(put(13.0)), known) == []


def test_rejection_at_the_end_is_wanted() -> None:
    going = record(version(1, 0.0), version(2, 10.0, leaving=True))

    assert rights.wrong_values(tape(put(11.0, "rejected")), history(going)) == []
    assert rights.wrong_values(tape(put(9.0, "rejected")), history(going)) != []


def use(path: str, user: str | None = MINE.user_id, project: str = PROJECT) -> Use:
    return Use(user=user, token_project=project, route=f"GET {path}", path=path, count=1)


def test_own_calls_are_fine() -> None:
    paths = (f"/v2/images/{IMAGE}/members/{PROJECT}", f"/v1/{PROJECT}/jobs/job", "/v2/cloudimages")
    uses = [use(path) for path in paths]

    assert rights.foreign(tape(put(1.0), uses=uses), history()) == []


@pytest.mark.parametrize(
    "one",
    [
        use(f"/v2/images/{IMAGE}/members/{PROJECT}", THEIRS.user_id),
        use(f"/v2/images/{IMAGE}/members/{OTHER_PROJECT}"),
        use(f"/v2/images/{SECOND}/members/{PROJECT}"),
        use(f"/v1/{OTHER_PROJECT}/jobs/job"),
        use(f"/v1/{PROJECT}/jobs/job", project=OTHER_PROJECT),
        use(f"/v1/{PROJECT}/jobs/job", "nobody-known"),
        use(f"/v2/images/{IMAGE}"),
    ],
    ids=[
        "an image of somebody else's object",
        "a member of another project",
        "an image that nobody names",
        "a job of another project",
        "a token of another project",
        "a user of no Secret",
        "a call that the operator has no business with",
    ],
)
def test_foreign_call_is_named(one: Use) -> None:
    assert len(rights.foreign(tape(uses=[one]), history())) == 1


def test_put_for_a_project_that_is_not_the_tokens_is_named() -> None:
    found = rights.foreign(tape(put(1.0, body_project=OTHER_PROJECT)), history())

    assert found == [f"PUT with a token of project {PROJECT} for project {OTHER_PROJECT}"]
