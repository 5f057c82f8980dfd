"""A test or a run that hangs ends with the stacks of its tasks and threads, and the rest runs."""

from pathlib import Path
from textwrap import dedent

import pytest

TESTS = Path(__file__).parents[2]
PLUGINS = ("asyncio", "limits", "looptime_plugin", "timeout", "xdist")
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
timeout = 1
"""
PRELUDE = "import asyncio, ctypes, looptime, pytest, select, socket, time\n"


class Run:
    """Runs pytest in a process of its own."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def __call__(self, code: str, *arguments: str) -> pytest.RunResult:
        self._pytester.makepyfile(PRELUDE + dedent(code))
        plugins = [word for name in PLUGINS for word in ("-p", name)]
        return self._pytester.runpytest_subprocess(*plugins, *arguments, timeout=120)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts in half of the time
    pytester.makeini(INI)
    return Run(pytester)


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        (
            """
            def test_hangs():
                print("printed before")
                time.sleep(1e6)
            """,
            ["++++ *::test_hangs did not end within its limit of 1 s*", "printed before"],
        ),
        (
            """
            def test_hangs():
                ctypes.PyDLL(None).sleep(1_000_000)
            """,
            ["Timeout (0:00:04)!", "* line 4 in test_hangs"],
        ),
        (
            """
            @pytest.mark.looptime
            async def test_hangs():
                await asyncio.Event().wait()
            """,
            ["++++ <Task pending *test_hangs()*", "    await asyncio.Event().wait()"],
        ),
        (
            """
            async def waits_for_ever():
                await asyncio.Event().wait()

            def test_hangs():
                looptime.new_event_loop().run_until_complete(waits_for_ever())
            """,
            ["++++ <Task *waits_for_ever()*", "* in waits_for_ever"],
        ),
        (
            """
            async def catches_everything():
                while True:
                    try:
                        await asyncio.sleep(1e6)
                    except BaseException:
                        pass

            async def test_hangs_after_its_end():
                task = asyncio.create_task(catches_everything())
                await asyncio.sleep(0)
            """,
            ["++++ <Task *", "* line 6, in catches_everything"],
        ),
        (
            """
            @pytest.fixture
            def slow():
                yield
                time.sleep(1e6)

            def test_fails(slow):
                assert False
            """,
            ["++++ *test_fails did not end *", "* line 6 in slow"],
        ),
    ],
    ids=["sleep", "holds the GIL", "task", "own loop", "catches everything", "teardown"],
)
def test_hanging_test_ends_with_its_stack(run: Run, code: str, lines: list[str]) -> None:
    result = run(code)

    assert result.ret == 1
    result.stderr.fnmatch_lines(lines)


def test_other_tests_run_on_after_a_hanging_one(run: Run) -> None:
    result = run(
        """
        def test_hangs():
            time.sleep(1e6)

        @pytest.mark.parametrize("number", range(5))
        def test_passes(number):
            pass
        """,
        "--numprocesses=1",
        "--dist=worksteal",
    )

    assert result.ret == 1
    result.assert_outcomes(passed=5, failed=1)
    result.stderr.fnmatch_lines(["++++ *test_hangs did not end *", "* in test_hangs"])


def test_limit_of_a_test_ends_with_the_test(run: Run) -> None:
    result = run("""
        @pytest.mark.timeout(1, func_only=True)
        def test_is_quick():
            pass

        @pytest.mark.timeout(60)
        def test_takes_longer():
            time.sleep(1.5)
    """)

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("options", [(), ("--numprocesses=1", "--max-worker-restart=0")])
def test_run_that_hangs_before_its_first_test_ends_with_its_stack(
    run: Run, options: tuple[str, ...]
) -> None:
    result = run("time.sleep(1e6)", "--session-timeout=0.1", *options)

    assert result.ret != 0
    result.stderr.fnmatch_lines(["++++ The run did not end *", "* line 2 in <module>"])


def test_run_ends_between_two_tests_when_its_time_is_over(run: Run) -> None:
    result = run(
        """
        @pytest.mark.parametrize("number", range(5))
        def test_takes_a_moment(number):
            time.sleep(0.2)
        """,
        "--session-timeout=0.1",
    )

    assert result.ret == 1
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*session-timeout: 0.1 sec exceeded*"])
