"""How requests leave the process: one attempt each, no redirects, bounded answers."""

import errno
import ssl
from collections.abc import Callable
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from image_share_operator import __version__
from image_share_operator.cloud.bounds import BoundedTransport
from image_share_operator.cloud.refusals import no_url

MAX_HEADER_BYTES = 64 * 1024
"""A token comes in a header, and grows with the rights of its user beyond the usual 8 KiB."""

HTTPS = 443


def build_client(
    *,
    connect_timeout: timedelta,
    read_timeout: timedelta,
    ca: str | None = None,
    proxy: str = "",
    no_proxy: str = "",
) -> httpx.AsyncClient:
    """Make a client. TLS is verified; there is no way to turn that off.

    Args:
        ca: certificates in PEM that are trusted besides the system's.
        proxy: URL of the one that https:// is sent through; empty for none.
        no_proxy: hosts that are reached without it, separated by commas; as in ``NO_PROXY``.
    """
    tls = ssl.create_default_context()
    if ca is not None:
        tls.load_verify_locations(cadata=ca)

    def session() -> aiohttp.ClientSession:
        # Unlimited here: the gate of each endpoint bounds them, and waits before the timeout runs.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls)
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
    timeout = httpx.Timeout(
        read_timeout.total_seconds(), connect=connect_timeout.total_seconds(), pool=None
    )
    return _Client(
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),  # likewise
        transport=BoundedTransport(transport),
        timeout=timeout,
        follow_redirects=False,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"image-share-operator/{__version__}",
        },
    )


class Clients:
    """The clients of a process: one, and one for each private certificate authority."""

    def __init__(self, build: Callable[[str | None], httpx.AsyncClient]) -> None:
        self._build = build
        self._known: dict[str | None, httpx.AsyncClient] = {}

    @classmethod
    def with_timeouts(
        cls, *, connect: timedelta, read: timedelta, proxy: str = "", no_proxy: str = ""
    ) -> Self:
        """Clients that wait for so long at most; the proxy as in `build_client`."""
        return cls(
            lambda ca: build_client(
                connect_timeout=connect, read_timeout=read, ca=ca, proxy=proxy, no_proxy=no_proxy
            )
        )

    def get(self, ca: str | None = None) -> httpx.AsyncClient:
        """The one client that trusts this authority besides the system's."""
        if ca not in self._known:
            self._known[ca] = self._build(ca)
        return self._known[ca]

    async def __aenter__(self) -> Self:
        """Nothing is opened before it is needed."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close all connections."""
        for client in self._known.values():
            await client.aclose()


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
