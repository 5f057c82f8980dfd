"""What the fork server starts ends with it: a test run leaves no process behind."""

from pathlib import Path

from envtest import eventually
from envtest.fork_server import ForkServer

PROGRAM = "import time\nprint('begun', flush=True)\ntime.sleep(600)\n"


def test_children_end_with_the_server(tmp_path: Path) -> None:
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(PROGRAM)
    server = ForkServer(path=[])
    child = server.start([str(program)], directory=tmp_path, log=log, env={})
    eventually(lambda: (log.exists() and "begun" in log.read_text()) or None)

    server.close()

    eventually(lambda: None if runs(child.pid) else True)


def runs(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
