"""A reverse proxy in front of an HTTP server that misbehaves as told; in a thread of its own.

Made for kube-apiserver: it knows verbs and watches. Clients speak plain HTTP to it unless it has a
certificate, and what they send, the bearer token too, goes on over TLS.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar, assert_never

import aiohttp
import yaml
import yarl
from aiohttp import web

from envtest import credentials
from envtest.processes import Running

T = TypeVar("T")

CALL_S = 120.0
"""For a call into the thread of the proxy: microseconds, unless the machine is busy."""
TLS_ENDS_S = 0.25
"""What aiohttp's documentation lets pass for connections over TLS to close, "Graceful Shutdown"."""
LINE_BYTES = 4 * 1024 * 1024
"""The longest watch event: an object is 1.5 MiB at most."""
HOP_BY_HOP = frozenset(
    {"connection", "content-length", "host", "keep-alive", "transfer-encoding", "upgrade"}
)
METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as it came.

    Attributes:
        verb: of Kubernetes: get, list, watch, create, update, patch, delete.
        at: seconds of the monotonic clock.
        spoiled: whether a fault took it.
    """

    verb: str
    path: str
    query: str
    at: float
    spoiled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """This instead of the server's answer; the server never sees the request."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Stream:
    """A watch that begins well, says this and ends."""

    text: str


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, until the client gives up or the faults are cleared."""


@dataclass(frozen=True, slots=True)
class Delay:
    """The request goes on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is reset; the server never sees the request."""


@dataclass(frozen=True, slots=True)
class Lose:
    """The server does what was asked; the connection is reset instead of its answer."""


@dataclass(frozen=True, slots=True)
class Stall:
    """The answer begins, and stays silent after so many bytes, as `Hang`."""

    after_bytes: int


Effect = Answer | Stream | Hang | Delay | Cut | Lose | Stall


def refusal(status: int, reason: str, message: str, **details: object) -> Answer:
    """A refusal in the API server's words; validation tells its ``causes`` in ``details``."""
    said = {**_status(status, reason, message), "details": details}
    return Answer(status=status, body=json.dumps(said))


def too_many_requests(retry_after: int | str | None, *, date: str | None = None) -> Answer:
    """As API Priority and Fairness refuses: headers, and text instead of a Status.

    Args:
        retry_after: seconds. A load balancer may send a date, or no header.
        date: of the response, instead of the time.
    """
    return Answer(
        status=429,
        body="Too many requests, please try again later.\n",
        content_type="text/plain; charset=utf-8",
        headers={
            **({} if retry_after is None else {"Retry-After": str(retry_after)}),
            **({} if date is None else {"Date": date}),
            "X-Content-Type-Options": "nosniff",
            "X-Kubernetes-PF-FlowSchema-UID": "6d1f6b0c-5f0a-4d5e-9c55-000000000001",
            "X-Kubernetes-PF-PriorityLevel-UID": "6d1f6b0c-5f0a-4d5e-9c55-000000000002",
        },
    )


def gone() -> Answer:
    """As a version that is not kept any more is refused, before a watch begins or on a page."""
    return refusal(410, "Expired", "The resourceVersion for the provided watch is too old.")


def error_event(code: int, reason: str, message: str) -> str:
    """The event with which a watch ends that went wrong after it began; one line."""
    return json.dumps({"type": "ERROR", "object": _status(code, reason, message)}) + "\n"


def gone_event() -> str:
    """As a watch ends whose version is not kept any more."""
    return error_event(410, "Expired", "too old resource version: 1 (1000)")


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def verb_of(method: str, path: str, query: Mapping[str, str]) -> str:
    """The verb as RBAC and audit name it."""
    if method != "GET":
        return METHODS.get(method, method.lower())
    if query.get("watch") in ("true", "1"):
        return "watch"
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
    if len(parts) > 2 and parts[0] == "namespaces":
        parts = parts[2:]
    return "list" if len(parts) == 1 else "get"


@dataclass(slots=True, kw_only=True)
class _Rule:
    verb: str
    path: str
    query: str
    effect: Effect
    left: int | None

    def takes(self, verb: str, path: str, query: str) -> bool:
        """Whether the call is met; counts it if so."""
        if self.left == 0 or self.verb not in ("*", verb) or self.query not in query:
            return False
        if not fnmatchcase(path, self.path):
            return False
        self.left = None if self.left is None else self.left - 1
        return True


@dataclass(slots=True, eq=False)
class _Watch:
    """An open watch; ``ends`` gets what it says last, and whether it is then reset."""

    path: str
    ends: "asyncio.Future[tuple[str, bool]]"


class FaultyProxy(Running):
    """The proxy: `with FaultyProxy(control_plane.url, ca_file=control_plane.ca_file) as proxy`.

    Its methods may be called from any thread. Without faults it changes nothing.

    Args:
        server: the base URL of the server behind it.
        ca_file: what the server's certificate is signed by, for https.
        certificate: the files of the certificate and its key, for clients that need https.
    """

    def __init__(
        self,
        server: str,
        *,
        ca_file: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._server = server
        self._certificate = certificate
        self._ca_file = ca_file
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy")
        self._rules: list[_Rule] = []
        self._calls: list[Call] = []
        self._watches: set[_Watch] = set()
        self._expired: set[str] = set()
        self._page_size: int | None = None
        self._flowing = asyncio.Event()
        self._silent = "*"
        self._cleared = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self.url = ""

    def start(self) -> None:
        self._thread.start()
        try:
            self._await(self._start())
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._await(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def kubeconfig(self, source: Path, target: Path) -> Path:
        """Write ``source`` once more so that it leads here; return ``target``."""
        document = yaml.safe_load(source.read_text())
        for row in document["clusters"]:
            row["cluster"] = {"server": self.url}
        credentials.write_private(target, json.dumps(document, indent=2) + "\n")
        return target

    def fault(
        self, verb: str, path: str, effect: Effect, *, count: int | None = None, query: str = ""
    ) -> None:
        """Let calls fail; the first rule in order that is met counts.

        Args:
            verb: of Kubernetes, or ``*``.
            path: a pattern as of shells, e.g. ``*/secrets/*``; ``*`` crosses slashes.
            count: at most so many times.
            query: must be part of the query, e.g. ``continue=``.
        """
        rule = _Rule(verb=verb, path=path, query=query, effect=effect, left=count)
        self._call(lambda: self._rules.append(rule))

    def clear(self) -> None:
        """Take all faults back; what hangs is reset."""

        def clear() -> None:
            self._rules.clear()
            self._page_size = None
            self._flowing.set()
            self._cleared.set()
            self._cleared = asyncio.Event()

        self._call(clear)

    def expire(self, token: str) -> None:
        """Refuse this bearer token from now on. Open watches stay open, as of the API server."""
        self._call(lambda: self._expired.add(token))

    def calls(self, verb: str = "*", path: str = "*") -> list[Call]:
        """The calls so far, oldest first."""
        seen = self._call(self._calls.copy)
        return [c for c in seen if verb in ("*", c.verb) and fnmatchcase(c.path, path)]

    def limit_pages(self, size: int) -> None:
        """Let lists come in pages of so many objects at most."""
        self._call(lambda: setattr(self, "_page_size", size))

    def open_watches(self, path: str = "*") -> int:
        """How many watches are open now."""
        return self._call(lambda: sum(fnmatchcase(w.path, path) for w in self._watches))

    def silence_watches(self, path: str = "*") -> None:
        """Let open and new watches say nothing more, as behind a dead router: no FIN, no RST."""

        def silence() -> None:
            self._silent = path
            self._flowing.clear()

        self._call(silence)

    def unsilence_watches(self) -> None:
        """Let watches speak again; what came meanwhile comes now."""
        self._call(self._flowing.set)

    def end_watches(self, path: str = "*", *, last: str = "", reset: bool = False) -> int:
        """End the open watches; return how many there were.

        Args:
            last: what they still say: an event with its newline, or half an event.
            reset: break the connection instead of ending the answer in order.
        """

        def end() -> int:
            open_now = [w for w in self._watches if fnmatchcase(w.path, path)]
            for watch in open_now:
                if not watch.ends.done():
                    watch.ends.set_result((last, reset))
            return len(open_now)

        return self._call(end)

    def _call(self, do: Callable[[], T]) -> T:
        """Do it in the proxy's own thread."""

        async def done() -> T:
            return do()

        return self._await(done())

    def _await(self, work: Awaitable[T]) -> T:
        async def awaited() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._loop).result(CALL_S)

    async def _start(self) -> None:
        self._flowing.set()
        tls = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=LINE_BYTES,
        )
        app = web.Application(client_max_size=LINE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        server_tls = None
        if self._certificate is not None:
            server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            server_tls.load_cert_chain(*self._certificate)
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=server_tls)
        await site.start()
        scheme = "http" if server_tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        await asyncio.sleep(TLS_ENDS_S)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        verb = verb_of(request.method, request.path, request.query)
        query = request.query_string
        rule = self._rule_for(request, verb, query)
        call = Call(
            verb=verb,
            path=request.path,
            query=query,
            at=time.monotonic(),
            spoiled=rule is not None,
        )
        self._calls.append(call)
        body = await request.read()
        try:
            if rule is None:
                return await self._forwarded(request, body, call)
            return await self._spoiled(request, body, call, rule.effect)
        except (aiohttp.ClientError, OSError):
            return _reset(request)  # the server is away, or the client is

    def _rule_for(self, request: web.Request, verb: str, query: str) -> _Rule | None:
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        if token in self._expired:
            effect = refusal(401, "Unauthorized", "Unauthorized")
            return _Rule(verb=verb, path=request.path, query="", effect=effect, left=None)
        return next((r for r in self._rules if r.takes(verb, request.path, query)), None)

    async def _spoiled(
        self, request: web.Request, body: bytes, call: Call, effect: Effect
    ) -> web.StreamResponse:
        match effect:
            case Answer():
                return web.Response(
                    status=effect.status,
                    body=effect.body.encode(),
                    headers={"Content-Type": effect.content_type, **effect.headers},
                )
            case Stream(text):
                return web.Response(body=text.encode(), content_type="application/json")
            case Hang():
                await self._cleared.wait()
                return _reset(request)
            case Delay(seconds):
                await asyncio.sleep(seconds)
                return await self._forwarded(request, body, call)
            case Cut():
                return _reset(request)
            case Lose():
                async with self._asked(request, body, call) as answer:
                    await answer.read()
                return _reset(request)
            case Stall(after_bytes):
                async with self._asked(request, body, call) as answer:
                    response = web.StreamResponse(headers=_passed_on(answer.headers))
                    await response.prepare(request)
                    await response.write((await answer.read())[:after_bytes])
                    await self._cleared.wait()
                return _reset(request)
        assert_never(effect)

    async def _forwarded(self, request: web.Request, body: bytes, call: Call) -> web.StreamResponse:
        async with self._asked(request, body, call) as answer:
            response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
            if call.verb == "watch" and answer.status == web.HTTPOk.status_code:
                return await self._watch(request, answer, response, call.path)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    def _asked(
        self, request: web.Request, body: bytes, call: Call
    ) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise RuntimeError("the proxy is not started")
        url = yarl.URL(self._server + request.raw_path, encoded=True)
        if call.verb == "list" and self._page_size is not None:
            url = url.update_query(limit=str(self._page_size))
        return self._session.request(
            request.method,
            url,
            headers=_passed_on(request.headers),
            data=body or None,
            allow_redirects=False,
        )

    async def _watch(
        self,
        request: web.Request,
        answer: aiohttp.ClientResponse,
        response: web.StreamResponse,
        path: str,
    ) -> web.StreamResponse:
        await response.prepare(request)
        watch = _Watch(path, self._loop.create_future())
        copying = asyncio.create_task(self._copy(answer, response, path))
        self._watches.add(watch)
        try:
            await asyncio.wait((copying, watch.ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watches.discard(watch)
            copying.cancel()
            await asyncio.wait((copying,))
        if not watch.ends.done():
            copying.result()  # raises what went wrong with either side
        last, reset = watch.ends.result() if watch.ends.done() else ("", False)
        if last:
            await response.write(last.encode())
        if reset:
            return _reset(request)
        await response.write_eof()
        return response

    async def _copy(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, path: str
    ) -> None:
        async for line in answer.content:
            if fnmatchcase(path, self._silent):
                await self._flowing.wait()
            await response.write(line)


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _reset(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere
