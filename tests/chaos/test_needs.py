"""Each PUT that changes nothing is sorted by why, and those without a reason are found."""

from collections import Counter

import pytest

from chaos import needs
from chaos.forged import IMAGE, OTHER, PROJECT, again, history, put, record, tape, version
from chaos.history import History, Window
from chaos.tape import Put, Setting

TOLD = history(record(jobs=["job-1", "job-5"]))
SILENT = history()


def why(known: History, *puts: Put) -> Counter[str]:
    return needs.sort_extra(tape(*puts), known).puts


def killed(at_s: float) -> History:
    made = history(record(jobs=["job-5"]))
    made.kills.append(at_s)
    return made


def test_needed_puts_are_not_counted() -> None:
    drifted = put(5.0, settings=(Setting(image=IMAGE, held="rejected", applied=True),))

    assert why(TOLD, put(1.0), drifted) == {}


def test_refused_put_changes_nothing_and_is_not_counted() -> None:
    assert why(TOLD, put(1.0), again(5.0, status=429, job=None)) == {}


def test_put_of_what_was_done_is_named() -> None:
    result = needs.sort_extra(tape(put(1.0), again(5.0)), TOLD)

    assert result.puts == {"unexplained": 1}
    assert "changed nothing for image image-1" in result.complaints[0]
    assert "sent by team/web" in result.complaints[0]


def test_put_of_what_a_job_under_way_does_is_named() -> None:
    coming = Setting(image=IMAGE, held="pending", coming=(("job-1", "accepted"),), applied=True)

    assert why(TOLD, put(1.0), put(5.0, settings=(coming,))) == {"unexplained": 1}


def test_put_against_a_job_under_way_is_needed() -> None:
    coming = Setting(image=IMAGE, held="accepted", coming=(("job-1", "rejected"),), applied=True)

    assert why(TOLD, put(1.0), put(5.0, settings=(coming,))) == {}


def test_put_of_what_nobody_set_is_named() -> None:
    assert why(TOLD, again(5.0)) == {"unexplained": 1}


def test_needless_image_in_a_needed_batch_is_named() -> None:
    mixed = (
        Setting(image=IMAGE, held="accepted", applied=True),
        Setting(image="new", held="pending", applied=True),
    )

    result = needs.sort_extra(tape(put(1.0), put(5.0, settings=mixed)), TOLD)

    assert result.puts == {}
    assert result.images == {"unexplained": 1}


def test_another_objects_job_is_an_overlap() -> None:
    known = history(
        record(jobs=["job-1"]),
        record(version(1, 0.0), jobs=["job-5"], target=OTHER),
    )

    assert why(known, put(1.0), again(5.0)) == {"overlap": 1}


@pytest.mark.parametrize(
    "effect", ["reset", "status", "truncate", "drop", "patch", "drip_seconds", "delay_seconds"]
)
def test_answer_that_was_lost_excuses_one_more_put(effect: str) -> None:
    lost = put(1.0, effects=("handle", effect))

    assert why(SILENT, lost, again(5.0)) == {"lost answer": 1}
    assert why(SILENT, lost, again(5.0), again(6.0)) == {"lost answer": 1, "unexplained": 1}


def test_lost_answer_is_no_excuse_when_the_job_became_known() -> None:
    assert why(TOLD, put(1.0, effects=("drip_seconds",)), again(5.0)) == {"unexplained": 1}


def test_cloud_that_stood_still_excuses_one_more_put() -> None:
    known = history()
    known.freezes.append(Window(1.1, 4.0))

    assert why(known, put(1.0), again(5.0)) == {"lost answer": 1}


def test_kill_between_both_excuses_one_more_put() -> None:
    assert why(killed(3.0), put(1.0), again(5.0)) == {"kill": 1}


@pytest.mark.parametrize("at_s", [0.5, 5.5], ids=["before both", "after both"])
def test_kill_at_another_time_is_no_excuse(at_s: float) -> None:
    assert why(killed(at_s), put(1.0), again(5.0)) == {"unexplained": 1}


def test_stop_between_both_is_no_excuse() -> None:
    known = history()
    known.stops.append(3.0)

    assert why(known, put(1.0), again(5.0)) == {"unexplained": 1}


@pytest.mark.parametrize(
    ("at_s", "reason"),
    [(0.5, "gone"), (1.5, "gone"), (-5.0, "unexplained"), (6.0, "unexplained")],
    ids=["just before", "between both", "long before", "after both"],
)
def test_object_that_was_deleted_could_not_name_its_job(at_s: float, reason: str) -> None:
    deleted = record(target=OTHER, deleted=True)
    deleted.deleted_s = at_s

    assert why(history(record(jobs=["job-5"]), deleted), put(1.0), again(5.0)) == {reason: 1}


def test_job_that_lied_excuses_another_put() -> None:
    assert why(TOLD, put(1.0, effects=("job",)), again(5.0)) == {"odd job": 1}


@pytest.mark.parametrize(
    ("lags", "reason"),
    [
        ([(116.0, 4.0)], "lag"),
        ([(90.0, 4.0)], "lag"),
        ([(90.0, 4.0), (95.0, 0.0)], "unexplained"),
        ([(119.0, 4.0)], "unexplained"),
        ([], "unexplained"),
    ],
)
def test_cloud_that_shows_late_what_had_shown_is_an_excuse(
    lags: list[tuple[float, float]], reason: str
) -> None:
    known = history(record(jobs=["job-115", "job-118"]))
    known.lags += lags

    assert why(known, put(115.0), again(118.0)) == {reason: 1}


def test_put_that_answers_a_contrary_one_without_an_answer_is_told_apart() -> None:
    """Whether it was taken or not: nobody could know."""
    lost = put(1.0, value="rejected", job=None, status=0, effects=("reset",))
    taken = put(1.0, value="rejected", job="job-0", effects=("handle", "reset"))
    known = history(record(jobs=["job-5", "job-0"]))

    assert why(TOLD, put(0.5), lost, again(200.0)) == {"order": 1}
    assert why(TOLD, put(0.5), taken, again(200.0)) == {"order": 1}
    assert why(known, put(0.5), taken, again(200.0)) == {"unexplained": 1}


def against(at_s: float, *effects: str) -> Put:
    """A PUT of the other value."""
    return put(at_s, value="rejected", job="job-0", effects=effects)


def test_put_that_answers_a_contrary_one_is_told_apart() -> None:
    held = again(200.0)

    assert why(TOLD, against(190.0), held) == {"order": 1}
    assert why(TOLD, against(1.0, "job"), held) == {"order": 1}
    assert why(TOLD, against(1.0), held) == {"unexplained": 1}
    assert why(killed(150.0), against(1.0), held) == {"order": 1}


def test_contrary_put_is_no_excuse_after_the_right_one() -> None:
    assert why(TOLD, against(190.0), put(195.0), again(200.0)) == {"unexplained": 1}


def test_image_that_is_sent_again_and_again_is_named() -> None:
    loop = tape(*(put(float(second)) for second in range(20)))

    assert needs.unpaced(loop, SILENT) == [f"image {IMAGE} was sent 20 times in a minute, not 14"]


def test_as_many_puts_as_there_were_causes_are_fine() -> None:
    loop = tape(*(put(float(second)) for second in range(20)))
    known = history()
    known.hands += [(float(second), IMAGE, "project") for second in range(20)]

    assert needs.unpaced(loop, known) == []


def test_slow_repetition_is_fine() -> None:
    assert needs.unpaced(tape(*(put(10.0 * n) for n in range(100))), SILENT) == []


@pytest.mark.parametrize(
    ("at_s", "reason"), [(4.5, "hand"), (5.5, "unexplained"), (-20.0, "unexplained")]
)
def test_hand_that_set_the_value_after_the_look_excuses_the_put(at_s: float, reason: str) -> None:
    known = history()
    known.hands.append((at_s, IMAGE, PROJECT))

    assert why(known, again(5.0)) == {reason: 1}
