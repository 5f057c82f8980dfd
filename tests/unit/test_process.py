"""The start of the operator, in a process of its own."""

import socket
import subprocess
import sys
from pathlib import Path

from envtest.processes import free_port

OPERATOR = Path(__file__).parents[2] / "operator"


def test_port_in_use_is_reported_without_a_traceback() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        ended = subprocess.run(
            (sys.executable, "-m", "image_share_operator"),
            env={"PYTHONPATH": str(OPERATOR), "ISA_METRICS_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ended.returncode == 1
    assert f"port {port} of metrics and probes is in use; set ISA_METRICS_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


AT_THE_IMPORT = """
import socket, sys
from image_share_operator import __main__

class Finder:
    def find_spec(self, name, *_):
        if name == "image_share_operator.process":
            print({"aiohttp", "kopf"} & sys.modules.keys())
            for host in ("127.0.0.1", "::1")[: 1 + socket.has_dualstack_ipv6()]:
                socket.create_connection((host, int(sys.argv[1]))).close()
            sys.exit("all connected")

sys.meta_path.insert(0, Finder())
__main__.main(["run"])
"""


def test_port_of_probes_is_open_before_the_slow_imports() -> None:
    """A probe that comes during the imports waits for the response, and does not fail."""
    port = str(free_port())
    ended = subprocess.run(
        (sys.executable, "-c", AT_THE_IMPORT, port),
        env={"PYTHONPATH": str(OPERATOR), "ISA_METRICS_PORT": port},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.stdout == "set()\n"
    assert ended.stderr == "all connected\n"
