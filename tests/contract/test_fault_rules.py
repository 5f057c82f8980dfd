"""Which call a fault rule meets; pure, without a process."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otc_simulator.faults import FaultBook, read_rule

START = datetime(2026, 1, 1, tzinfo=UTC)


def book_of(*rules: dict[str, Any]) -> FaultBook:
    book = FaultBook()
    for status, rule in enumerate(rules, start=500):
        book.add(read_rule({"route": "GET /a", "do": {"status": status}} | rule))
    return book


def met(book: FaultBook, calls: int, *, route: str = "GET /a") -> list[int | None]:
    """Return the status that each of so many calls, a second apart, is refused with."""
    effects = [
        book.meet(route, images=(), project_id=None, now=START + timedelta(seconds=second))
        for second in range(calls)
    ]
    return [effect.status if effect else None for effect in effects]


@pytest.mark.parametrize(
    ("rule", "calls_met"),
    [
        pytest.param({}, [1, 2, 3, 4, 5, 6], id="every call"),
        pytest.param({"count": 2}, [1, 2], id="so often"),
        pytest.param({"when": {"nth": 3}}, [3], id="the n-th"),
        pytest.param({"when": {"first": 2}}, [1, 2], id="the first"),
        pytest.param({"when": {"after": 4}}, [5, 6], id="all but the first"),
        pytest.param({"when": {"every": 2}}, [2, 4, 6], id="every n-th"),
        pytest.param({"when": {"every": 2}, "count": 2}, [2, 4], id="every n-th, so often"),
        pytest.param({"when": {"for_seconds": 3}}, [1, 2, 3], id="so long"),
        pytest.param({"when": {"after": 1, "first": 3}}, [2, 3], id="all parts must hold"),
        pytest.param({"when": {"probability": 0.0}}, [], id="never"),
        pytest.param({"when": {"probability": 1.0}}, [1, 2, 3, 4, 5, 6], id="always"),
        pytest.param({"route": "*"}, [1, 2, 3, 4, 5, 6], id="any route"),
        pytest.param({"route": "GET /b"}, [], id="another route"),
        pytest.param({"images": ["x"]}, [], id="another image"),
        pytest.param({"projects": ["x"]}, [], id="another project"),
    ],
)
def test_a_rule_meets(rule: dict[str, Any], calls_met: list[int]) -> None:
    statuses = met(book_of(rule), 6)

    assert [number for number, status in enumerate(statuses, start=1) if status] == calls_met


def test_a_probability_is_repeatable_by_its_seed() -> None:
    def run(seed: int) -> list[int | None]:
        return met(book_of({"when": {"probability": 0.5, "seed": seed}}), 100)

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 25 < sum(status is not None for status in run(1)) < 75


def test_rules_count_calls_that_another_rule_wins() -> None:
    book = book_of({"when": {"first": 2}}, {"when": {"nth": 3}}, {"when": {"nth": 1}})

    assert met(book, 4) == [500, 500, 501, None]


def test_a_rule_that_loses_keeps_its_count() -> None:
    book = book_of({"count": 1}, {"count": 1})

    assert met(book, 3) == [500, 501, None]


def test_a_rule_about_images_or_projects_meets_those_who_name_one() -> None:
    book = book_of({"images": ["x", "y"], "projects": ["p"]})

    def meets(images: tuple[str, ...], project_id: str | None) -> bool:
        effect = book.meet("GET /a", images=images, project_id=project_id, now=START)
        return effect is not None

    assert meets(("y", "z"), "p")
    assert not meets(("z",), "p")
    assert not meets(("x",), "q")
    assert not meets(("x",), None)


def test_cleared_rules_meet_nothing() -> None:
    book = book_of({})
    book.clear()

    assert met(book, 1) == [None]
    assert not book.speaks_about("GET /a")
