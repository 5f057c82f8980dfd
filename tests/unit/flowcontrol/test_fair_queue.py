"""Lines take turns, and none takes all places."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.flowcontrol.fair_queue import FairQueue

PLACES = 8


def taken(turns: FairQueue[str]) -> list[str]:
    """Take all there is to take; tell whose it was."""
    lines = []
    while (turn := turns.take()) is not None:
        lines.append(turn[0])
    return lines


def filled(turns: FairQueue[str], **count: int) -> FairQueue[str]:
    for line, items in count.items():
        for number in range(items):
            turns.put(line, f"{line}-{number}")
    return turns


def test_lines_take_turns_whatever_their_length() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES), a=5, b=2, c=1)

    assert taken(turns) == ["a", "b", "c", "a", "b", "a"]


def test_items_of_a_line_keep_their_order() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES), a=3)

    assert [turns.take() for _ in range(3)] == [("a", "a-0"), ("a", "a-1"), ("a", "a-2")]


def test_line_has_no_more_places_than_its_share() -> None:
    turns = filled(FairQueue[str](PLACES, share=2), a=3)
    assert taken(turns) == ["a", "a"]

    turns.release("a")

    assert taken(turns) == ["a"]


def test_line_leaves_as_many_places_as_it_has() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES), a=8)

    assert len(taken(turns)) == 4
    assert taken(filled(turns, b=8)) == ["b", "b"]
    assert taken(filled(turns, c=8)) == ["c"]
    assert taken(filled(turns, d=8)) == ["d"]


def test_greedy_line_leaves_fewer() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES, greed=3), a=8)

    assert len(taken(turns)) == 6


def test_place_that_is_free_again_goes_to_the_line_that_has_least() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES), a=8, b=8)
    assert Counter(taken(turns)) == {"a": 3, "b": 3}
    turns.release("a")
    assert taken(turns) == ["a"]

    turns.release("b")
    turns.release("b")

    assert taken(turns) == ["b", "b"]


def test_line_that_waits_for_another_gets_what_that_one_gives_back() -> None:
    turns = filled(FairQueue[str](PLACES, share=PLACES), a=8)
    taken(turns)
    taken(filled(turns, b=8))
    assert taken(filled(turns, c=8)) == ["c"]

    turns.release("a")

    assert taken(turns) == ["c"]


@given(
    st.lists(st.tuples(st.sampled_from(["put", "take", "give_back"]), st.sampled_from("abcdef")))
)
def test_nobody_waits_who_could_have_a_place(steps: list[tuple[str, str]]) -> None:
    """Whatever came before: what can be taken is taken, and all is taken in the end."""
    turns = FairQueue[str](PLACES, share=3, greed=1)
    waiting, held = Counter[str](), Counter[str]()
    for step, line in steps:
        match step:
            case "put":
                turns.put(line, line)
                waiting[line] += 1
            case "give_back" if held[line]:
                turns.release(line)
                held[line] -= 1
            case _:
                for took in taken(turns):
                    waiting[took] -= 1
                    held[took] += 1
                free = PLACES - held.total()
                assert not any(waiting[line] and held[line] < min(3, free) for line in "abcdef")
    while waiting.total():
        for took in taken(turns):
            waiting[took] -= 1
            held[took] += 1
        assert held.total()
        for line in [*held.elements()]:
            turns.release(line)
        held.clear()
    assert taken(turns) == []
