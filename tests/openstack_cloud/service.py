"""One server process of the cloud: Keystone or Glance."""

import os
from pathlib import Path

import httpx

from envtest.processes import Running, Server, eventually, reserve_port
from openstack_cloud.access_log import AccessLog
from openstack_cloud.installation import Installation

SERVE = Path(__file__).parent / "serve.py"


class Service(Running):
    """A server that can be stopped and started again; its port and its data stay.

    Args:
        module: has the WSGI application.
        prefix: of all paths, as clouds have it behind one host.
        directory: has the configuration and the data.
        config: the variable that names the directory of the configuration.
    """

    def __init__(
        self, installation: Installation, module: str, prefix: str, *, directory: Path, config: str
    ) -> None:
        self.directory = directory
        self.log = AccessLog(directory / f"{prefix[1:]}-access.log")
        self._port = reserve_port()  # kept for restarts
        port = self._port.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}{prefix}"
        self._command = [
            str(installation.bin / "python"),
            "-I",  # this directory has modules with the names of the servers
            str(SERVE),
            module,
            str(port),
            prefix,
            str(directory / f"{prefix[1:]}-access.log"),
        ]
        self._env = {**os.environ, config: str(directory)}
        self._output = directory / f"{prefix[1:]}-output.log"
        self._server: Server | None = None

    def start(self) -> None:
        """Start the process; `wait` returns when it serves."""
        self._server = Server(
            self._command, directory=self.directory, log=self._output, env=self._env
        )

    def wait(self) -> None:
        """Wait until it serves."""
        assert self._server is not None, "it was not started"
        server = self._server

        def serves() -> bool | None:
            server.require_running()
            try:
                answer = httpx.get(f"{self.url}/", timeout=60, trust_env=False)
            except httpx.TransportError:
                return None
            return answer.status_code == httpx.codes.MULTIPLE_CHOICES or None

        eventually(serves)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def kill(self) -> None:
        """``kill -9``."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def close(self) -> None:
        """Stop, and give the port back."""
        self.stop()
        self._port.close()
