"""Lines of the benchmark's table."""

from figures import Figure, worst


def test_of_all_rounds_the_worst_is_held_against_its_target() -> None:
    first = [
        Figure("at most", 3.0, "", ("<=", 2.0)),
        Figure("exactly", 1.9, "", ("=", 2.0)),
        Figure("at least", 0.9, "", (">=", 0.85)),
        Figure("without", 1.0),
    ]
    last = [
        Figure("at most", 1.0, "", ("<=", 2.0)),
        Figure("exactly", 2.0, "", ("=", 2.0)),
        Figure("at least", 0.8, "", (">=", 0.85)),
        Figure("without", 2.0),
    ]

    assert [figure.value for figure in worst([first, last])] == [3.0, 1.9, 0.8, 2.0]
    assert [figure.met for figure in worst([first, last])] == [False, False, False, True]
