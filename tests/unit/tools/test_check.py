"""`make check`: all checks run, and the last lines say what failed and what to do."""

import sys

import pytest

from check import Check, run


def a_check(name: str, code: str) -> Check:
    return Check(name=name, command=(sys.executable, "-c", code), advice=f"Correct {name}.")


def test_check_runs_all_and_shows_those_that_failed(capfd: pytest.CaptureFixture[str]) -> None:
    checks = (
        a_check("first", "import sys; print('it is broken', file=sys.stderr); sys.exit(3)"),
        a_check("second", "print('many words'); print('== 7 passed ==')"),
    )

    code = run(checks)

    output = capfd.readouterr().out
    assert code == 1
    assert "s  7 passed\n" in output
    assert "many words" not in output
    assert output.endswith(
        "\nit is broken\n\n1 of 2 checks failed:\n  first            Correct first.\n"
    )


def test_check_succeeds_when_all_do(capfd: pytest.CaptureFixture[str]) -> None:
    code = run((a_check("first", "pass"), a_check("second", "pass")))

    assert code == 0
    assert capfd.readouterr().out.endswith("\nAll 2 checks passed.\n")
