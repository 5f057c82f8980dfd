"""A host of release archives and a proxy, on loopback, that fail as real ones do."""

import contextlib
import io
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

CHUNK_BYTES = 2**16


@dataclass(kw_only=True)
class File:
    """A file that the host serves, and how.

    Attributes:
        breaks: connections that end after the first half.
        sized: the host says how long it is.
        stalls: nothing follows the first half, and the connection stays open.
        status: instead of the file, if it is not 200.
    """

    body: bytes
    breaks: int = 0
    sized: bool = True
    stalls: bool = False
    status: int = 200


@dataclass
class Host:
    """What the host has and what it was asked for.

    Attributes:
        files: by file name; the host ignores the directories of a URL.
        ranges: the Range header of each request, empty without one.
        released: set when connections that stall may end.
    """

    url: str
    port: int
    files: dict[str, File] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    host: Host

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Say nothing."""

    def do_GET(self) -> None:
        host = cast("_Server", self.server).host
        asked = self.headers.get("Range", "")
        host.ranges.append(asked)
        file = host.files.get(self.path.rpartition("/")[2])
        if file is None or file.status != 200:
            self.send_error(404 if file is None else file.status)
            return
        offset = int(asked.removeprefix("bytes=").removesuffix("-") or 0)
        if offset >= len(file.body):
            self.send_error(416)
            return
        self._send(host, file, offset)

    def _send(self, host: Host, file: File, offset: int) -> None:
        body = file.body[offset:]
        self.close_connection = True
        self.send_response(206 if offset else 200)
        if file.sized:
            self.send_header("Content-Length", str(len(body)))
        if offset:
            size = len(file.body)
            self.send_header("Content-Range", f"bytes {offset}-{size - 1}/{size}")
        self.end_headers()
        if file.breaks > 0 or file.stalls:
            file.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)
        if file.stalls:
            host.released.wait()


@contextlib.contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Host]:
    """Serve while in the block; over TLS with a context."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        scheme = "http"
        if context is not None:
            scheme = "https"
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.host = Host(f"{scheme}://127.0.0.1:{server.server_port}", server.server_port)
        with _running(server):
            yield server.host
            server.host.released.set()


@contextlib.contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


class _ProxyServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    upstream: tuple[str, int]
    asked: list[str]


class _ProxyHandler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base
        """Say nothing."""

    def do_CONNECT(self) -> None:
        proxy = cast("_ProxyServer", self.server)
        proxy.asked.append(self.path)
        with socket.create_connection(proxy.upstream) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(upstream, self.connection), daemon=True)
            back.start()
            _pump(self.connection, upstream)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxying(upstream: tuple[str, int]) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy that connects to ``upstream`` whatever it is asked for.

    Yields its URL and the list of what it was asked for.
    """
    with _ProxyServer(("127.0.0.1", 0), _ProxyHandler) as server:
        server.upstream = upstream
        server.asked = []
        with _running(server):
            yield f"http://127.0.0.1:{server.server_port}", server.asked


@contextlib.contextmanager
def silence() -> Iterator[int]:
    """Accept connections on the port that is yielded, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def tarball(files: Mapping[str, bytes], *others: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Return a .tar.gz of files, after other members."""
    buffer = io.BytesIO()
    # Not compressed further: the tests want sizes that they can foresee.
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=0) as tar:
        for info, content in others:
            tar.addfile(info, io.BytesIO(content))
        for name, content in files.items():
            tar.addfile(member(name, size=len(content)), io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, **attributes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    return info
