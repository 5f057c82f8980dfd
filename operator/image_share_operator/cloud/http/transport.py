"""Connections to the cloud: one attempt for each request, no redirects, limited responses.

Only this module knows aiohttp. It translates each of its errors once, to `NoResponseError`.
"""

import os
import ssl
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Self, cast

import aiodns.error
import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

from image_share_operator import __version__
from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.cloud.http.ca_bundle import CaBundle, read_bundle
from image_share_operator.cloud.http.no_response import HTTPS_PORT, Cause, NoResponseError
from image_share_operator.cloud.http.payload import MAX_WORD_CHARS, one_line
from image_share_operator.cloud.http.size_limit import SizeLimitTransport

MAX_HEADER_BYTES = 64 * 1024
"""Limit of a header. A token is in a header and grows with the permissions of its user, beyond the
usual limit of 8 KiB."""
MAX_AUTHORITIES = 32
"""Private authorities with open connections. A cluster has one or two; each uses 0.8 MB."""

NO_ADDRESS = (aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA)
"""Codes of c-ares for a host name that does not exist, or has no address."""
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
"""Codes of OpenSSL for a certificate whose authority is not known. Source: X509_STORE_CTX_get_error
(``X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT``, ``X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT`` …)."""


def _build_transport(
    trusted: CaBundle | None,
    *,
    proxy: str,
    no_proxy: str,
    resolver: AbstractResolver | None = None,
) -> httpx.AsyncBaseTransport:
    """Build a transport. It always verifies TLS certificates."""
    tls = ssl.create_default_context()
    if trusted is not None:
        tls.load_verify_locations(cadata=trusted.data)

    def session() -> aiohttp.ClientSession:
        # No limit here: the limiter of each endpoint limits them, outside of the request timeout.
        # aiohttp resolves names with aiodns when it is installed. Without it, libuv resolves them
        # in two threads, and two names whose DNS servers do not respond would block all others.
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, resolver=resolver)
        # No cookies: those of one tenant's endpoint must not be sent for another tenant.
        return aiohttp.ClientSession(
            connector=connector,
            middlewares=(_one_attempt,),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_field_size=MAX_HEADER_BYTES,
        )

    transport: httpx.AsyncBaseTransport = AiohttpTransport(verify=tls, client=session)
    if proxy:
        tunnel = AiohttpTransport(verify=tls, client=session, proxy=_proxy(httpx.URL(proxy)))
        transport = _ProxyTransport(transport, tunnel, no_proxy)
    return SizeLimitTransport(transport)


def _timeout(connect: timedelta, read: timedelta) -> httpx.Timeout:
    return httpx.Timeout(read.total_seconds(), connect=connect.total_seconds(), pool=None)


def _client(transport: httpx.AsyncBaseTransport, timeout: httpx.Timeout) -> httpx.AsyncClient:
    return _Client(
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),  # no cookies here either
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"image-share-operator/{__version__}",
        },
    )


TransportFactory = Callable[[CaBundle | None], httpx.AsyncBaseTransport]
"""Builds a transport that also trusts these authorities."""


class HttpClients:
    """The HTTP clients of a process. Clients that trust the same authorities share connections.

    Up to `MAX_AUTHORITIES` private authorities have open connections, and those in use: a user who
    can write a Secret can write another ``ca.crt`` each minute.
    """

    def __init__(self, build: TransportFactory, timeout: httpx.Timeout) -> None:
        self._build = build
        self._timeout = timeout
        self._pools: OrderedDict[str, _Pool] = OrderedDict()

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
        """Clients with these timeouts for each step of a request.

        Args:
            proxy: URL of the proxy for https:// requests; empty for none.
            no_proxy: hosts without proxy, separated by commas; as in ``NO_PROXY``.
            resolver: resolves host names; ``None`` for that of aiohttp.
        """
        build = partial(_build_transport, proxy=proxy, no_proxy=no_proxy, resolver=resolver)
        return cls(build, _timeout(connect, read))

    def get(self, ca: str | None = None) -> httpx.AsyncClient:
        """A client that trusts these certificates (PEM) and those of the system.

        It has no connections of its own and does not need to be closed.
        """
        trusted = None if ca is None else read_bundle(ca)
        return _client(_PooledTransport(self, trusted), self._timeout)

    def acquire(self, trusted: CaBundle | None) -> "_Pool":
        """Return the pool for these authorities, with one more request in flight."""
        key = "" if trusted is None else trusted.key
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(self._build(trusted))
        self._pools.move_to_end(key)
        pool.in_flight += 1
        return pool

    async def close_unused(self) -> None:
        """Close the least recently used pools without requests, down to `MAX_AUTHORITIES`."""
        while (unused := self._unused()) is not None:
            await self._pools.pop(unused).transport.aclose()

    def _unused(self) -> str | None:
        if len(self._pools) - ("" in self._pools) <= MAX_AUTHORITIES:
            return None
        return next((key for key, pool in self._pools.items() if key and not pool.in_flight), None)

    async def __aenter__(self) -> Self:
        """Open nothing: connections are opened by requests."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.transport.aclose()


@dataclass(slots=True)
class _Pool:
    """Connections that trust the same authorities, and the number of requests on them."""

    transport: httpx.AsyncBaseTransport
    in_flight: int = 0


class _PooledTransport(httpx.AsyncBaseTransport):
    """Sends on the connections of a pool, which is in use until the response is read."""

    def __init__(self, clients: HttpClients, trusted: CaBundle | None) -> None:
        self._clients = clients
        self._trusted = trusted

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        pool = self._clients.acquire(self._trusted)
        try:
            await self._clients.close_unused()
            response = await pool.transport.handle_async_request(request)
        except BaseException:
            pool.in_flight -= 1
            raise
        response.stream = _PooledStream(response.stream, pool)
        return response


class _PooledStream(httpx.AsyncByteStream):
    def __init__(self, inner: object, pool: _Pool) -> None:
        self._inner = cast("httpx.AsyncByteStream", inner)  # async transports have async streams
        self._pool: _Pool | None = pool

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._inner.__aiter__()

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.in_flight -= 1
        await self._inner.aclose()


class _Client(httpx.AsyncClient):
    def build_request(self, method: str, url: httpx.URL | str, **parts: Any) -> httpx.Request:
        """Build a request. httpx accepts fewer URLs than the schema of the CRD does.

        Raises:
            TerminalError: the URL is not valid.
        """
        try:
            return super().build_request(method, url, **parts)
        except (httpx.InvalidURL, UnicodeError) as exc:
            raise invalid_url(str(url)) from exc

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """Send a request; the response has no reference cycle.

        The stream of httpx refers to its response. With this cycle, each page of a list (one
        megabyte, parsed) would stay in memory until the garbage collector runs.

        Raises:
            NoResponseError: there is no usable response.
            TimeoutError: there is no response in time.
            TerminalError: the URL is not valid.
        """
        try:
            response = await super().send(request, **how)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as exc:
            raise invalid_url(str(request.url)) from exc
        except httpx.TimeoutException as exc:
            raise TimeoutError from exc
        except NoResponseError:
            raise
        except httpx.TransportError as exc:
            raise NoResponseError(Cause.BROKEN, "connection lost") from exc
        if response.is_stream_consumed:
            response.stream = httpx.ByteStream(b"")
        return response


def invalid_url(text: str) -> TerminalError:
    """The error for a URL that httpx does not accept, although the CRD does."""
    shown = one_line(text.partition("?")[0][:MAX_WORD_CHARS])
    return TerminalError(
        f"spec.endpoints: {shown} is not a valid URL; correct it", reason=Reason.INVALID_REQUEST
    )


async def _one_attempt(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request without the automatic retry of aiohttp, and translate its errors.

    aiohttp sends a PUT again when the connection is lost, because PUT is idempotent in HTTP. Here a
    second PUT starts a second job: the reconciler reads the memberships before it sends again.
    aiohttp and httpx-aiohttp let an error that is not aiohttp's own pass as it is.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError as exc:
        raise _no_connection(request, exc) from exc
    except aiohttp.ClientHttpProxyError as exc:
        detail = f"the proxy returned HTTP {exc.status} for CONNECT"
        raise NoResponseError(Cause.PROXY, detail) from None
    except aiohttp.ConnectionTimeoutError as exc:
        raise NoResponseError(Cause.CONNECT, "timeout of the connection") from exc
    except aiohttp.ServerTimeoutError as exc:
        raise TimeoutError from exc
    except aiohttp.ClientResponseError:
        # Its text quotes the response, which may have a token.
        raise NoResponseError(Cause.NOT_HTTP, "the response is not HTTP") from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as exc:
        raise NoResponseError(Cause.BROKEN, "connection lost") from exc


def _no_connection(
    request: aiohttp.ClientRequest, exc: aiohttp.ClientConnectorError
) -> NoResponseError:
    match exc:
        case aiohttp.ClientConnectorCertificateError(certificate_error=ssl.SSLError() as error):
            why = getattr(error, "verify_message", "").rstrip(".")
            detail = f"the TLS certificate is not trusted: {why}"
            if getattr(error, "verify_code", None) in UNKNOWN_ISSUER:
                detail += (
                    "; add its certificate authority to the key ca.crt of the Secret, or to "
                    "extraCA of the chart"
                )
            return NoResponseError(Cause.CERTIFICATE, detail)
        case aiohttp.ClientConnectorDNSError():
            cause, detail = Cause.DNS, _dns_detail(exc.os_error)
        case _:
            cause, detail = Cause.CONNECT, _detail(exc.os_error)
    proxy = request.proxy
    if proxy is not None and (exc.host, exc.port) == (proxy.host, proxy.port):
        detail = f"the proxy {exc.host}:{exc.port}: {detail}; check HTTPS_PROXY"
        return NoResponseError(Cause.PROXY, detail)
    return NoResponseError(cause, detail)


def _dns_detail(error: OSError) -> str:
    cause = error.__cause__
    unknown = isinstance(cause, aiodns.error.DNSError) and cause.args[0] in NO_ADDRESS
    return "no such host" if unknown else f"DNS lookup failed: {error.strerror}"


def _detail(error: OSError) -> str:
    """The error of the system in its usual words: ``connection refused``, ``no route to host``."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {(error.reason or 'no reason').replace('_', ' ').lower()}"
    return os.strerror(error.errno).lower() if error.errno else "no address responds"


def _proxy(url: httpx.URL) -> httpx.Proxy:
    if not url.username:
        return httpx.Proxy(url)
    # As a header: httpx-aiohttp would use a class that aiohttp has deprecated.
    headers = {"Proxy-Authorization": aiohttp.encode_basic_auth(url.username, url.password)}
    return httpx.Proxy(url.copy_with(username="", password=""), headers=headers)


class _ProxyTransport(httpx.AsyncBaseTransport):
    """Sends https:// requests through the proxy, except those to the hosts of ``NO_PROXY``.

    httpx applies the proxy variables only to the transports that it builds itself.
    """

    def __init__(
        self, direct: httpx.AsyncBaseTransport, tunnel: httpx.AsyncBaseTransport, no_proxy: str
    ) -> None:
        self._direct = direct
        self._tunnel = tunnel
        names = (name.strip().lower().lstrip(".") for name in no_proxy.split(","))
        self._no_proxy = frozenset(filter(None, names))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request."""
        return await self._transport_for(request.url).handle_async_request(request)

    def _transport_for(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        if url.scheme != "https" or "*" in self._no_proxy:
            return self._direct
        labels = url.raw_host.decode("ascii").split(".")
        names = {".".join(labels[first:]) for first in range(len(labels))}
        names |= {f"{name}:{url.port or HTTPS_PORT}" for name in names}
        return self._tunnel if names.isdisjoint(self._no_proxy) else self._direct

    async def aclose(self) -> None:
        """Close the connections."""
        await self._direct.aclose()
        await self._tunnel.aclose()
