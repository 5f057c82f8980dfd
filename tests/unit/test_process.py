"""What the process reports when it can't start; in a process of its own."""

import socket
import subprocess
import sys
from pathlib import Path

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
