"""The limits of a test and of the whole run: they end what hangs, they do not measure speed.

`timeout` and `session_timeout` in pyproject.toml are the limits in seconds of wall-clock time, long
enough for a busy machine. A process that reaches one prints the stacks of all asyncio tasks and all
threads, and exits with code 1. pytest-xdist then reports the test as failed and starts another
worker; without pytest-xdist the run ends.

The process exits because an exception is not enough: an event loop catches what is raised inside a
task or a callback, and waits on. pytest-timeout prints its stacks to a terminal that the workers of
pytest-xdist do not have. So this plugin replaces the timer of pytest-timeout, and nothing else.
"""

import asyncio
import faulthandler
import gc
import os
import threading
import traceback
from collections.abc import Generator, Iterator
from types import FrameType

import pytest
import pytest_timeout  # type: ignore[import-untyped] # has no types
from _pytest.capture import CaptureManager

GRACE_S = 3.0
"""Then faulthandler prints the threads and exits, if a C call holds the GIL and stops the timer."""
PRINT_S = 30.0
"""Time to print; then faulthandler exits."""
WORKERS_FIRST_S = 30.0
"""How much longer the controller of pytest-xdist waits: its workers print, and end with it."""
MOST_TASKS = 50
"""A test may have thousands, most of them in the same place."""

STDERR = pytest.StashKey[int]()
TIMER = pytest.StashKey[threading.Timer]()
SETTINGS = pytest.StashKey[pytest_timeout.Settings]()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start the clock of the run.

    pytest-timeout ends a run between two tests. This is for a run that does not come that far:
    one more test may start in time, and take all of its own.
    """
    config.stash[STDERR] = os.dup(2)  # later, output is captured
    run_s = config.stash[pytest_timeout.SESSION_TIMEOUT_KEY]
    if run_s:
        test_s = float(config.getoption("timeout") or config.getini("timeout") or 0)
        extra_s = WORKERS_FIRST_S if config.getoption("numprocesses", None) else 0
        what = f"The run did not end within its limit of {run_s:g} s (session_timeout)."
        config.stash[TIMER] = _timer(run_s + test_s + extra_s, what, config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if TIMER in config.stash:
        _cancel(config.stash[TIMER])


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
    """Start the clock of a test, with its fixtures."""
    if pytest_timeout.is_debugging():
        return True
    item.stash[SETTINGS] = settings
    what = f"{item.nodeid} did not end within its limit of {settings.timeout:g} s (timeout)."
    item.stash[TIMER] = _timer(settings.timeout, what, item.config)
    stderr = item.config.stash[STDERR]
    faulthandler.dump_traceback_later(settings.timeout + GRACE_S, exit=True, file=stderr)
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> bool:
    faulthandler.cancel_dump_traceback_later()
    if TIMER in item.stash:
        _cancel(item.stash[TIMER])
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Start the clock again: pytest-timeout stops it when a test fails, for a debugger."""
    if SETTINGS in item.stash:
        pytest_timeout_cancel_timer(item)
        pytest_timeout_set_timer(item, item.stash[SETTINGS])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Stop the clock in any case: one that runs on would end the process in a later test."""
    try:
        return (yield)
    finally:
        pytest_timeout_cancel_timer(item)


def _timer(seconds: float, what: str, config: pytest.Config) -> threading.Timer:
    timer = threading.Timer(seconds, _end, (what, config))
    timer.daemon = True
    timer.start()
    return timer


def _cancel(timer: threading.Timer) -> None:
    timer.cancel()
    timer.join()


def _end(what: str, config: pytest.Config) -> None:
    """Print all that helps to find the cause, and exit."""
    if pytest_timeout.is_debugging():
        return
    faulthandler.dump_traceback_later(PRINT_S, exit=True, file=config.stash[STDERR])
    try:
        with open(config.stash[STDERR], "w", closefd=False) as stderr:
            print(f"\n++++ {what}", file=stderr)
            capture = config.pluginmanager.getplugin("capturemanager")
            if isinstance(capture, CaptureManager):
                capture.suspend_global_capture()
                print("++++ Output", *capture.read_global_capture(), sep="\n", file=stderr)
            tasks = list(_tasks())
            for task in tasks[:MOST_TASKS]:
                print(f"++++ {task!r}", *_stack(task), sep="\n", file=stderr)
            print(f"++++ {len(tasks)} tasks in all", file=stderr)
            print("++++ Threads", file=stderr, flush=True)
            faulthandler.dump_traceback(file=stderr, all_threads=True)
    finally:
        os._exit(1)


def _tasks() -> Iterator[asyncio.Task[object]]:
    """All tasks that are not done, of all loops: a test may run one of its own."""
    for one in gc.get_objects():
        # The type is asked, since some objects import or compute when their class is.
        if issubclass(type(one), asyncio.Task) and not one.done():
            yield one


def _stack(task: asyncio.Task[object]) -> list[str]:
    """Where the task waits, outermost call first; `Task.get_stack` shows the outermost alone."""
    lines: list[str] = []
    waiting: object = task.get_coro()
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if isinstance(frame, FrameType):
            lines += traceback.format_list(traceback.extract_stack(frame, limit=1))
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return lines
