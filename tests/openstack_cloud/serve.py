"""Serves Keystone or Glance. Runs in the environment of the servers, see `install.py`.

    python serve.py keystone.wsgi.api PORT PREFIX ACCESS_LOG

Each request adds a line to the access log when it ends: method, path without the prefix, status.
"""

import importlib
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any

import waitress  # type: ignore[import-untyped, import-not-found, unused-ignore] # of the servers' environment

THREADS = 1
"""Requests at once. SQLite answers concurrent writes with "database is locked", which Keystone and
Glance return as status 500."""

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def logged(application: Application, path: str) -> Application:
    """Log each request of the application."""
    log = open(path, "a", buffering=1)  # noqa: PTH123, SIM115 - as long as the process

    def serve(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        # Before the application: a middleware may change the path.
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"

        def start(status: str, *rest: Any) -> Any:
            log.write(f"{request} {status.split(maxsplit=1)[0]}\n")
            return start_response(status, *rest)

        return application(environ, start)

    return serve


def listener(port: int) -> socket.socket:
    """A socket on a port that the tests have reserved for it."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen()
    return listening


def main() -> None:
    module, port, prefix, access_log = sys.argv[1:]
    del sys.argv[1:]  # Keystone would parse them
    application: Application = importlib.import_module(module).application
    waitress.serve(
        logged(application, access_log),
        sockets=[listener(int(port))],
        threads=THREADS,
        url_prefix=prefix,
        ident=None,
        _quiet=True,
    )


if __name__ == "__main__":
    main()
