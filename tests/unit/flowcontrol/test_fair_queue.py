"""Flows take queue, and no flow takes all seats."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from image_share_operator.flowcontrol.fair_queue import FairQueue

SEATS = 8


def taken(queue: FairQueue[str]) -> list[str]:
    """Take all items that can be taken; return their flows."""
    flows = []
    while (next_one := queue.take()) is not None:
        flows.append(next_one[0])
    return flows


def filled(queue: FairQueue[str], **count: int) -> FairQueue[str]:
    for flow, items in count.items():
        for number in range(items):
            queue.put(flow, f"{flow}-{number}")
    return queue


def test_flows_take_turns_with_any_number_of_items() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS), a=5, b=2, c=1)

    assert taken(queue) == ["a", "b", "c", "a", "b", "a"]


def test_items_of_a_flow_keep_their_order() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS), a=3)

    assert [queue.take() for _ in range(3)] == [("a", "a-0"), ("a", "a-1"), ("a", "a-2")]


def test_flow_has_no_more_seats_than_its_share() -> None:
    queue = filled(FairQueue[str](SEATS, share=2), a=3)
    assert taken(queue) == ["a", "a"]

    queue.release("a")

    assert taken(queue) == ["a"]


def test_flow_leaves_as_many_seats_as_it_has() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS), a=8)

    assert len(taken(queue)) == 4
    assert taken(filled(queue, b=8)) == ["b", "b"]
    assert taken(filled(queue, c=8)) == ["c"]
    assert taken(filled(queue, d=8)) == ["d"]


def test_flow_with_more_greed_leaves_fewer_seats() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS, greed=3), a=8)

    assert len(taken(queue)) == 6


def test_released_seat_goes_to_the_flow_with_the_fewest() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS), a=8, b=8)
    assert Counter(taken(queue)) == {"a": 3, "b": 3}
    queue.release("a")
    assert taken(queue) == ["a"]

    queue.release("b")
    queue.release("b")

    assert taken(queue) == ["b", "b"]


def test_waiting_flow_gets_the_seat_that_another_releases() -> None:
    queue = filled(FairQueue[str](SEATS, share=SEATS), a=8)
    taken(queue)
    taken(filled(queue, b=8))
    assert taken(filled(queue, c=8)) == ["c"]

    queue.release("a")

    assert taken(queue) == ["c"]


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "release"]), st.sampled_from("abcdef"))))
def test_no_flow_waits_while_it_may_take_a_seat(steps: list[tuple[str, str]]) -> None:
    """After any steps, all items that can be taken are taken; in the end, all items are."""
    queue = FairQueue[str](SEATS, share=3, greed=1)
    waiting, held = Counter[str](), Counter[str]()
    for step, flow in steps:
        match step:
            case "put":
                queue.put(flow, flow)
                waiting[flow] += 1
            case "release" if held[flow]:
                queue.release(flow)
                held[flow] -= 1
            case _:
                for took in taken(queue):
                    waiting[took] -= 1
                    held[took] += 1
                free = SEATS - held.total()
                assert not any(waiting[one] and held[one] < min(3, free) for one in "abcdef")
    while waiting.total():
        for took in taken(queue):
            waiting[took] -= 1
            held[took] += 1
        assert held.total()
        for flow in [*held.elements()]:
            queue.release(flow)
        held.clear()
    assert taken(queue) == []
