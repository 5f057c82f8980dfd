"""A cloud that is not to be trusted: it sends back what it was sent."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str

    @property
    def all(self) -> str:
        """Everything that was sent, in one text."""
        return f"{self.method} {self.path} {dict(self.headers)} {self.body}"

    @property
    def token(self) -> str:
        """The token."""
        return self._header("x-auth-token")

    @property
    def signature(self) -> str:
        """The header with access key and signature."""
        return self._header("authorization")

    def _header(self, wanted: str) -> str:
        """A header; names of headers come in small letters, too."""
        return {name.lower(): value for name, value in self.headers.items()}[wanted]

    @property
    def login(self) -> bool:
        return self.path.startswith("/v3/auth/tokens")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back. ``body`` is text, or something that becomes JSON."""

    status: int
    body: object = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Rule = Callable[[Asked], Answer]


@contextmanager
def cloud(rule: Rule) -> Iterator[str]:
    """Serve the rule on loopback; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            said = rule(Asked(self.command, self.path, dict(self.headers), body))
            text = said.body if isinstance(said.body, str) else json.dumps(said.body)
            data = text.encode("utf-8", "replace")
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # the client may have closed the connection
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = _answer  # noqa: N815 - names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the library
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
