"""Two commits are compared by their medians, and noise is not taken for a change."""

import pytest
from compare import changes, read


def test_ratio_is_that_of_the_medians() -> None:
    (row,) = changes([{"rate": 10.0}, {"rate": 11.0}, {"rate": 30.0}], [{"rate": 22.0}])

    assert row.ratio == pytest.approx(2.0)
    assert row.noise == pytest.approx(20 / 2 / 11)


@pytest.mark.parametrize(
    ("head", "apart"), [((13.0, 14.0), True), ((8.0, 9.0), True), ((11.5, 20.0), False)]
)
def test_change_is_what_no_run_contradicts(head: tuple[float, ...], *, apart: bool) -> None:
    (row,) = changes([{"rate": 10.0}, {"rate": 12.0}], [{"rate": value} for value in head])

    assert row.apart is apart


def test_figures_of_one_commit_only_are_left_out() -> None:
    rows = changes([{"rate": 1.0, "old": 1.0}], [{"new": 2.0, "rate": 1.0}])

    assert [row.name for row in rows] == ["rate"]


def test_figure_that_was_nothing_has_no_ratio() -> None:
    (row,) = changes([{"errors": 0.0}], [{"errors": 3.0}])

    assert row.ratio is None
    assert row.apart


def test_report_is_read_as_the_benchmark_writes_it() -> None:
    report = {"machine": {}, "figures": [{"name": "  PUTs", "value": 0.025, "unit": ""}]}

    assert read(report) == {"PUTs": 0.025}
