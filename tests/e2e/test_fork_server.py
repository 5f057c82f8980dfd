"""Programs that are started by fork behave as those that an interpreter of their own runs."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from envtest import eventually
from envtest.fork_server import Child, ForkServer

PROGRAM = """
import atexit, os, sys, threading, time
atexit.register(print, "at exit")
print(sys.argv[1:], os.getcwd(), os.environ, __name__, flush=True)
if sys.argv[1] == "wait":
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    server = ForkServer("json", path=[])
    yield server
    server.close()


def start(server: ForkServer, directory: Path, argument: str) -> Child:
    program = directory / "program.py"
    program.write_text(PROGRAM)
    return server.start(
        [str(program), argument], directory=directory, log=directory / "log", env={"ONLY": "this"}
    )


def log(directory: Path) -> str:
    file = directory / "log"
    return file.read_text() if file.exists() else ""


def test_program_gets_arguments_directory_and_environment(
    server: ForkServer, tmp_path: Path
) -> None:
    code = start(server, tmp_path, "3").wait()

    told = f"['3'] {tmp_path} environ({{'ONLY': 'this'}}) __main__"
    assert log(tmp_path).splitlines() == [told, "at exit"]
    assert code == 3


def test_module_runs_as_main(server: ForkServer, tmp_path: Path) -> None:
    module = ["-m", "json.tool", "--help"]

    code = server.start(module, directory=tmp_path, log=tmp_path / "log", env={}).wait()

    assert "usage: " in log(tmp_path)
    assert code == 0


def test_log_keeps_what_earlier_programs_wrote(server: ForkServer, tmp_path: Path) -> None:
    for argument in ("1", "2"):
        start(server, tmp_path, argument).wait()

    assert log(tmp_path).count("at exit") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_is_told_as_subprocess_tells_it(
    server: ForkServer, tmp_path: Path, number: signal.Signals
) -> None:
    child = start(server, tmp_path, "wait")
    eventually(lambda: "wait" in log(tmp_path) or None)
    running = child.poll()

    child.send_signal(number)

    assert running is None
    assert child.wait() == -number
    child.send_signal(number)  # nobody is there any more, and it tells nobody


def test_children_end_with_the_server(tmp_path: Path) -> None:
    server = ForkServer(path=[])
    child = start(server, tmp_path, "wait")
    eventually(lambda: "wait" in log(tmp_path) or None)

    server.close()

    eventually(lambda: None if runs(child.pid) else True)


def runs(pid: int) -> bool:
    """Whether the process is there; one that nobody waits for does not run any more."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_module_that_can_not_be_imported_is_told(tmp_path: Path) -> None:
    server = ForkServer("no_such_module", path=[])

    with pytest.raises(RuntimeError, match="the fork server ended with 1"):
        start(server, tmp_path, "0")

    server.close()
