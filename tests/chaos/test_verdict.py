"""Each check of the verdict can fail: one forged run for each, and one that holds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chaos import needs, rights, truth
from chaos.golden import Gallery
from chaos.history import History, Record, Sight, Version, Window
from chaos.marks import shows_secret
from chaos.model import ASSUMING, MARK, Json, Login, SecretKind, Spec, Target
from chaos.run import keep_recording
from chaos.tape import Put, Setting, Tape, Use

PROJECT, OTHER_PROJECT, IMAGE = "a" * 32, "b" * 32, "image-1"
WEB = Target("team", "web")
LOGIN = Login(
    namespace="team",
    name="otc",
    kind=SecretKind.PASSWORD,
    user="user",
    user_id="user-id",
    domain="domain",
    password="password",
    projects=(PROJECT,),
)
OBSERVED = {"observedGeneration": 2}
SPEC = Spec(images=(IMAGE,), project=PROJECT, secret="otc")
EDITED = Version(generation=2, spec=replace(SPEC, decision="Reject"), sent_s=10.0, done_s=10.1)


def history() -> History:
    """A resource that accepts, and rejects from second 10 on; the operator saw that at 12."""
    record = Record(
        target=WEB,
        versions=[Version(generation=1, spec=SPEC, sent_s=0.0, done_s=0.1), EDITED],
        sights=[Sight(at_s=1.0, observed=1), Sight(at_s=12.0, observed=2)],
        carried={(IMAGE, "job-1"), (IMAGE, "job-5")},
    )
    return History(logins=(LOGIN,), records={WEB: record})


def put(at_s: float, value: str = "accepted", held: str = "pending", **changes: Any) -> Put:
    """A PUT of the image that was taken and took effect."""
    row: dict[str, Any] = {
        "at_s": at_s,
        "user": LOGIN.principal,
        "token_project": PROJECT,
        "body_project": PROJECT,
        "value": value,
        "settings": (Setting(image=IMAGE, held=held, applied=True),),
        "status": 200,
        "job": f"job-{at_s:g}",
    }
    return Put(**(row | changes))


def use(path: str) -> Use:
    return Use(user=LOGIN.principal, token_project=PROJECT, route="", path=path, count=1)


def verdict(*puts: Put, uses: tuple[Use, ...] = ()) -> str:
    """All complaints about what the cloud recorded."""
    tape, known = Tape(puts=puts, uses=uses, faulty_calls=0), history()
    return "\n".join(
        [
            *rights.wrong_values(tape, known),
            *rights.foreign(tape, known),
            *needs.sort_extra(tape, known).complaints,
            *needs.unpaced(tape, known),
        ]
    )


def test_run_that_is_right_has_no_complaint() -> None:
    lost = put(0.5, job="job-0", effects=("handle", "reset"))
    own = Use(user="user", token_project=PROJECT, route="", path=f"/v1/{PROJECT}/jobs/1", count=1)

    assert verdict(put(1.0), put(11.0, "rejected", "accepted"), uses=(own,)) == ""
    assert verdict(lost, put(1.0, held="accepted")) == ""


@pytest.mark.parametrize(
    ("puts", "complaint"),
    [
        ((put(13.0),), "generation 1 was seen to be superseded 1.00 s before"),
        ((put(9.0, "rejected"),), "generation 2 came 1.00 s later"),
        ((put(1.0, user="rival"),), "team/web has another Secret"),
        ((put(1.0, body_project=OTHER_PROJECT),), f"with a token of project {PROJECT} for"),
        ((put(1.0), put(5.0, held="accepted")), "PUT of accepted changed nothing for image"),
        (tuple(put(n / 9) for n in range(20)), "was sent 20 times in a minute, not 15"),
    ],
    ids=["superseded", "too early", "foreign token", "foreign project", "needless", "loop"],
)
def test_wrong_put_is_reported(puts: tuple[Put, ...], complaint: str) -> None:
    assert complaint in verdict(*puts)


@pytest.mark.parametrize(
    "path",
    [f"/v1/{OTHER_PROJECT}/jobs/1", f"/v2/images/other/members/{PROJECT}", "/v2/images"],
    ids=["job of another project", "image of no resource", "unknown call"],
)
def test_foreign_call_is_reported(path: str) -> None:
    assert path in verdict(uses=(use(path),))


@pytest.mark.parametrize(
    ("at_s", "user", "why"),
    [
        (5.0, "another user", "overlap"),
        (50.0, "another user", "unexplained"),
        (5.0, LOGIN.principal, "unexplained"),
    ],
    ids=["at once", "later", "same user"],
)
def test_needless_put_of_another_user_is_an_overlap(at_s: float, user: str, why: str) -> None:
    again = put(at_s, user=user, job="in no status", held="accepted")
    tape = Tape(puts=(put(1.0), again), uses=(), faulty_calls=0)

    assert needs.sort_extra(tape, history()).images == {why: 1}


@pytest.mark.parametrize(("job", "why"), [("in no status", "order"), ("job-5", "unexplained")])
def test_put_that_set_nothing_and_no_status_names_hides_no_other_order(job: str, why: str) -> None:
    failed = Setting(image=IMAGE, held="accepted")
    lost = put(11.0, "rejected", job=job, settings=(failed,))
    tape = Tape(puts=(put(1.0), lost, put(12.0, "rejected", "rejected")), uses=(), faulty_calls=0)

    assert needs.sort_extra(tape, history()).images == {why: 1}


@pytest.mark.parametrize(
    ("offline", "why"),
    [((6.0, 7.0), "order"), ((2.0, 3.0), "unexplained")],
    ids=["after the order", "before the order"],
)
def test_order_may_be_lost_when_the_cloud_goes_offline(
    offline: tuple[float, float], why: str
) -> None:
    """The spec asks for the value of the first PUT, then for the other one, then again for it."""
    known = history()
    specs = (EDITED.spec, SPEC, EDITED.spec)
    known.records[WEB].versions = [
        Version(generation=number, spec=spec, sent_s=5.0 * number, done_s=5.0 * number)
        for number, spec in enumerate(specs)
    ]
    known.offline.append(Window(*offline))
    puts = (put(1.0, "rejected"), put(11.0, "rejected", "rejected"))

    assert needs.sort_extra(Tape(puts=puts, uses=(), faulty_calls=0), known).images == {why: 1}


@pytest.mark.parametrize(
    ("killed_s", "why"),
    [(3.9, "unexplained"), (5.2, "kill"), (7.0, "kill"), (9.5, "unexplained")],
    ids=["long before", "while the first was on its way", "between both", "after both"],
)
def test_put_of_a_process_that_was_killed_may_be_sent_again(killed_s: float, why: str) -> None:
    known = history()
    known.kills.append(killed_s)
    puts = (put(6.0, job="in no status"), put(9.0, held="accepted"))

    assert needs.sort_extra(Tape(puts=puts, uses=(), faulty_calls=0), known).images == {why: 1}


@pytest.mark.parametrize(
    ("kind", "user"),
    [
        (SecretKind.AGENCY, "domain/user-agency"),
        (SecretKind.AGENCY_KEY, "domain/user-agency"),
        (SecretKind.SERVICE_ACCOUNT, "system:serviceaccount:team:otc"),
        (SecretKind.TEMPORARY_KEY, "user"),
    ],
)
def test_user_of_a_token_is_known_for_each_kind(kind: SecretKind, user: str) -> None:
    known = history()
    known.logins = (replace(LOGIN, kind=kind),)
    login = Use(user="user", token_project=None, route="", path="/v3/auth/tokens", count=1)
    tape = Tape(puts=(put(1.0, user=user),), uses=(login,), faulty_calls=0)
    is_agency = kind in ASSUMING

    assert rights.wrong_values(tape, known) == []
    assert bool(rights.foreign(tape, known)) is not is_agency
    assert rights.foreign(replace(tape, uses=(replace(login, path="/v2/cloudimages"),)), known)


def body(**status: Any) -> Json:
    """The resource after its edit, with a status that is true."""
    ready = {"type": "Ready", "status": "True", "reason": "Rejected", "message": "", **OBSERVED}
    rows = [{"id": IMAGE, "membership": "rejected"}]
    said = {"conditions": [ready], "images": rows, "summary": "1/1", **OBSERVED}
    return {"metadata": {"generation": 2}, "status": said | status}


@pytest.mark.parametrize(
    ("shown", "held", "complaint"),
    [
        (body(), "rejected", ""),
        (body(), "accepted", "wants image image-1 rejected, the cloud holds accepted"),
        (body(), None, "Ready is True Rejected, not False NotShared"),
        (body(conditions=[]), "rejected", "Ready is None None, not True Rejected"),
        (body(observedGeneration=1), "rejected", "observedGeneration of status is 1, not 2"),
        (body(summary="0/1"), "rejected", "summary is 0/1, not 1/1"),
        (body(images=[]), "rejected", "says None of image image-1, which is rejected"),
        (None, "rejected", "is gone although"),
    ],
    ids=["true", "cloud", "share", "conditions", "generation", "summary", "images", "gone"],
)
def test_wrong_status_is_reported(shown: Json | None, held: str | None, complaint: str) -> None:
    members = {(IMAGE, PROJECT): held} if held else {}
    found = truth.complaints(
        [*history().records.values()], {WEB: shown} if shown else {}, members, Gallery(), 20.0
    )

    assert complaint in "\n".join(found)
    assert bool(found) is bool(complaint)


def test_recording_has_the_calls_and_the_history(tmp_path: Path) -> None:
    known = history()
    known.nudges.append((5.0, WEB))
    known.freezes.append(Window(1.0, 2.0))
    keep_recording(tmp_path, {"puts": []}, known)

    kept = json.loads((tmp_path / "recording.json").read_text())

    assert kept["tape"] == {"puts": []}
    assert kept["nudges"] == [[5.0, "team/web"]]
    assert kept["freezes"] == [[1.0, 2.0]]
    assert kept["records"][0]["versions"][1]["spec"]["decision"] == "Reject"
    assert "password" not in json.dumps(kept)


def test_marked_secret_is_found() -> None:
    assert shows_secret(f"token: x{MARK}")
    assert not shows_secret("token: x")
