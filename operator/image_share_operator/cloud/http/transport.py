"""How requests leave the process: one attempt each, no redirects, bounded answers."""

import errno
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self, cast

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

from image_share_operator import __version__
from image_share_operator.cloud.http.ca_bundle import CaBundle, bundle
from image_share_operator.cloud.http.error_mapping import no_url
from image_share_operator.cloud.http.size_limit import BoundedTransport

MAX_HEADER_BYTES = 64 * 1024
"""A token comes in a header, and grows with the rights of its user beyond the usual 8 KiB."""
MAX_AUTHORITIES = 32
"""A cluster has one or two."""

HTTPS = 443


def _build_transport(
    trusted: CaBundle | None,
    *,
    proxy: str,
    no_proxy: str,
    resolver: AbstractResolver | None = None,
) -> httpx.AsyncBaseTransport:
    """Make connections. TLS is verified; there is no way to turn that off."""
    tls = ssl.create_default_context()
    if trusted is not None:
        tls.load_verify_locations(cadata=trusted.data)

    def session() -> aiohttp.ClientSession:
        # Unlimited here: the gate of each endpoint bounds them, and waits before the timeout runs.
        # Names are looked up by aiodns, which aiohttp takes where it is installed: libuv has two
        # threads for that, and whoever names two hosts whose servers are silent has both.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, resolver=resolver)
        # No cookies: what one tenant's endpoint sets must not reach another's.
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(_once,),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=MAX_HEADER_BYTES,
        )

    transport: httpx.AsyncBaseTransport = AiohttpTransport(verify=tls, client=session)
    if proxy:
        tunnel = AiohttpTransport(verify=tls, client=session, proxy=_proxy(httpx.URL(proxy)))
        transport = _ByHost(transport, tunnel, no_proxy)
    return BoundedTransport(transport)


def _timeout(connect: timedelta, read: timedelta) -> httpx.Timeout:
    return httpx.Timeout(read.total_seconds(), connect=connect.total_seconds(), pool=None)


def _client(transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout) -> httpx.AsyncClient:
    return _Client(
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),  # as above
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"image-share-operator/{__version__}",
        },
    )


Build = Callable[[CaBundle | None], httpx.AsyncBaseTransport]


class HttpClients:
    """The clients of a process. Who trusts the same authorities shares connections.

    At most `MAX_AUTHORITIES` private ones have connections, apart from those in use: a context of
    TLS is 0.8 MB, and whoever may write a Secret may write another ``ca.crt`` each minute.
    """

    def __init__(self, build: Build, timeout: httpx.Timeout) -> None:
        self._build = build
        self._timeout = timeout
        self._known: OrderedDict[str, _Shared] = OrderedDict()

    @classmethod
    def with_timeouts(
        cls,
        *,
        connect: timedelta,
        read: timedelta,
        proxy: str = "",
        no_proxy: str = "",
        resolver: AbstractResolver | None = None,
    ) -> Self:
        """Clients that wait for so long at most.

        Args:
            proxy: URL of the one that https:// is sent through; empty for none.
            no_proxy: hosts that are reached without it, separated by commas; as in ``NO_PROXY``.
            resolver: of names; ``None`` for aiohttp's own.
        """
        build = partial(_build_transport, proxy=proxy, no_proxy=no_proxy, resolver=resolver)
        return cls(build, _timeout(connect, read))

    def get(self, ca: str | None = None) -> httpx.AsyncClient:
        """A client that trusts these certificates (PEM) besides the system's.

        It is light, and needs not be closed: connections are made when it sends.
        """
        trusted = None if ca is None else bundle(ca)
        return _client(_Borrowed(self, trusted), self._timeout)

    def take(self, trusted: CaBundle | None) -> "_Shared":
        """Count one more who uses these connections."""
        key = "" if trusted is None else trusted.key
        shared = self._known.get(key)
        if shared is None:
            shared = self._known[key] = _Shared(self._build(trusted))
        self._known.move_to_end(key)
        shared.users += 1
        return shared

    async def tidy(self) -> None:
        """Close what nobody uses and was not used for longest, beyond the bound."""
        while (spare := self._spare()) is not None:
            await self._known.pop(spare).transport.aclose()

    def _spare(self) -> str | None:
        if len(self._known) - ("" in self._known) <= MAX_AUTHORITIES:
            return None
        return next((key for key, shared in self._known.items() if key and not shared.users), None)

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close all connections."""
        for shared in self._known.values():
            await shared.transport.aclose()


@dataclass(slots=True)
class _Shared:
    """Connections, and how many requests are under way on them."""

    transport: httpx.AsyncBaseTransport
    users: int = 0


class _Borrowed(httpx.AsyncBaseTransport):
    """Sends on shared connections, and holds them until the answer is read."""

    def __init__(self, clients: HttpClients, trusted: CaBundle | None) -> None:
        self._clients = clients
        self._trusted = trusted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on."""
        shared = self._clients.take(self._trusted)
        try:
            await self._clients.tidy()
            response = await shared.transport.handle_async_request(request)
        except BaseException:
            shared.users -= 1
            raise
        response.stream = _BorrowedStream(response.stream, shared)
        return response


class _BorrowedStream(httpx.AsyncByteStream):
    def __init__(self, inner: object, shared: _Shared) -> None:
        self._inner = cast("httpx.AsyncByteStream", inner)  # a transport that waits gives such
        self._shared: _Shared | None = shared

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.users -= 1
        await self._inner.aclose()


class _Client(httpx.AsyncClient):
    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """As any client; it knows more of what a URL is than the API server can be told.

        Raises:
            TerminalError: the URL is none.
        """
        try:
            return super().build_request(method, url, **parts)
        except (httpx.InvalidURL, UnicodeError) as exc:
            raise no_url(str(url)) from exc

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """As any client; nothing of the answer outlives its last user.

        httpx's stream refers to its response: with that, each page of a list (a megabyte, parsed)
        would wait for the collector.
        """
        response = await super().send(request, **how)
        if response.is_stream_consumed:
            response.stream = httpx.ByteStream(b"")
        return response


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request once.

    aiohttp repeats a PUT by itself when the connection breaks, because HTTP calls it idempotent.
    A repeated batch is a second job: the reconciler looks before it sends again. The repetition
    is keyed on these two classes, so they leave here as their common base.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise  # not repeated there, and tells that nothing was sent
    except aiohttp.ClientHttpProxyError as exc:
        refused = OSError(errno.ECONNREFUSED, f"the proxy answers CONNECT with HTTP {exc.status}")
        raise aiohttp.ClientProxyConnectionError(request.connection_key, refused) from None
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as exc:
        raise aiohttp.ClientConnectionError(f"connection lost: {type(exc).__name__}") from exc
    except aiohttp.ClientResponseError:
        # Quotes what came, perhaps a token; and the transport above does not know this class.
        raise aiohttp.ClientConnectionError("the answer is not HTTP") from None


def _proxy(url: httpx.URL) -> httpx.Proxy:
    if not url.username:
        return httpx.Proxy(url)
    # As a header: the transport would use a class that aiohttp has deprecated.
    headers = {"Proxy-Authorization": aiohttp.encode_basic_auth(url.username, url.password)}
    return httpx.Proxy(url.copy_with(username="", password=""), headers=headers)


class _ByHost(httpx.AsyncBaseTransport):
    """Sends what is https:// through the proxy, but for some hosts.

    httpx reads the environment only for transports of its own making.
    """

    def __init__(
        self, direct: httpx.AsyncBaseTransport, tunnel: httpx.AsyncBaseTransport, no_proxy: str
    ) -> None:
        self._direct = direct
        self._tunnel = tunnel
        names = (name.strip().lower().lstrip(".") for name in no_proxy.split(","))
        self._direct_to = frozenset(filter(None, names))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on."""
        return await self._way(request.url).handle_async_request(request)

    def _way(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        if url.scheme != "https" or "*" in self._direct_to:
            return self._direct
        labels = url.raw_host.decode("ascii").split(".")
        names = {".".join(labels[first:]) for first in range(len(labels))}
        names |= {f"{name}:{url.port or HTTPS}" for name in names}
        return self._tunnel if names.isdisjoint(self._direct_to) else self._direct

    async def aclose(self) -> None:
        """Close the connections."""
        await self._direct.aclose()
        await self._tunnel.aclose()
