"""The cause of each request without a response, on real connections."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiodns.error
import httpx
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from served import raw_server

from image_share_operator.api.errors import OutcomeUnknownError, RetryableError
from image_share_operator.cloud.http.circuit_breaker import THRESHOLD, CircuitOpenError
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.transport import HttpClients

TIMEOUT = timedelta(seconds=10)
SHORT = timedelta(seconds=2)
"""For a server that sends nothing. The connection needs a part of it."""
UNUSED = "http://127.0.0.1:1"
ADD_CA = "add its certificate authority to the key ca.crt of the Secret, or to extraCA of the chart"
NO_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"


class Resolver(AbstractResolver):
    """Fails with an error of c-ares, in the way of aiohttp."""

    def __init__(self, code: int, text: str) -> None:
        self._error = (code, text)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del host, port, family
        raise OSError(None, self._error[1]) from aiodns.error.DNSError(*self._error)

    async def close(self) -> None:
        pass


async def failure(
    url: str,
    *,
    method: str = "PUT",
    ca: str | None = None,
    proxy: str = "",
    resolver: AbstractResolver | None = None,
    limit: timedelta = TIMEOUT,
) -> RetryableError:
    """The error of one request."""
    clients = HttpClients.with_timeouts(connect=limit, read=limit, proxy=proxy, resolver=resolver)
    async with clients:
        http_client = CloudHttpClient(client=clients.get(), timeout=limit, clients=clients.get)
        http_client = http_client.with_ca(ca)
        with pytest.raises(RetryableError) as caught:
            await http_client.send(http_client.client.build_request(method, f"{url}/v1?q=1"))
    return caught.value


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Accepts connections and sends nothing."""
    done = asyncio.Event()

    async def wait(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        done.set()


async def test_refused_connection_is_named() -> None:
    error = await failure(UNUSED)

    assert str(error) == "no connection to 127.0.0.1:1: connection refused"
    assert not isinstance(error, OutcomeUnknownError)


@pytest.mark.parametrize(
    ("code", "text", "detail"),
    [
        (aiodns.error.ARES_ENOTFOUND, "Domain name not found", "no such host"),
        (aiodns.error.ARES_ENODATA, "no data", "no such host"),
        (
            aiodns.error.ARES_ETIMEOUT,
            "Timeout while contacting DNS servers",
            "DNS lookup failed: Timeout while contacting DNS servers",
        ),
    ],
)
async def test_unknown_host_is_not_a_silent_dns_server(code: int, text: str, detail: str) -> None:
    error = await failure("https://ims.test", resolver=Resolver(code, text))

    assert str(error) == f"no connection to ims.test:443: {detail}"
    assert not isinstance(error, OutcomeUnknownError)


async def test_unknown_host_of_the_proxy_is_named() -> None:
    resolver = Resolver(aiodns.error.ARES_ENOTFOUND, "Domain name not found")

    error = await failure("https://ims.test", proxy="http://proxy.test:3128", resolver=resolver)

    assert str(error) == (
        "no connection to ims.test:443: the proxy proxy.test:3128: no such host; check HTTPS_PROXY"
    )


async def test_proxy_that_refuses_the_connection_is_named() -> None:
    error = await failure("https://ims.test", proxy=UNUSED)

    assert str(error) == (
        "no connection to ims.test:443: the proxy 127.0.0.1:1: connection refused; "
        "check HTTPS_PROXY"
    )


def server_tls(authority: trustme.CA, host: str, *, expired: bool = False) -> ssl.SSLContext:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    until = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    authority.issue_cert(host, not_after=until).configure_cert(tls)
    return tls


async def test_untrusted_expired_and_foreign_certificates_differ() -> None:
    authority = trustme.CA()
    ca = authority.cert_pem.bytes().decode()
    details: list[str] = []
    for host, expired, trusted in (
        ("127.0.0.1", False, None),
        ("127.0.0.1", True, ca),
        ("other.test", False, ca),
    ):
        tls = server_tls(authority, host, expired=expired)
        async with raw_server(b"", tls) as (url, _):
            error = await failure(url, ca=trusted)
            assert not isinstance(error, OutcomeUnknownError)
            details.append(str(error).partition("the TLS certificate is not trusted: ")[2])

    assert details == [
        f"unable to get local issuer certificate; {ADD_CA}",
        "certificate has expired",
        "IP address mismatch, certificate is not valid for '127.0.0.1'",
    ]


async def test_server_without_tls_is_named() -> None:
    async with raw_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _):
        error = await failure(url.replace("http:", "https:"))

    assert "TLS failed: " in str(error)
    assert not isinstance(error, OutcomeUnknownError)


@pytest.mark.parametrize(
    ("response", "detail"),
    [
        (b"", "connection lost"),
        (NO_LENGTH, "connection lost"),
        (b"SSH-2.0-OpenSSH_9.2 MIItoken\r\n\r\n", "the response is not HTTP"),
    ],
    ids=["no response", "part of the body", "not HTTP"],
)
async def test_put_with_a_broken_response_has_an_unknown_outcome(
    response: bytes, detail: str
) -> None:
    async with raw_server(response) as (url, _):
        error = await failure(url)
        assert str(error) == f"no response from {url.removeprefix('http://')}: {detail}"
        assert isinstance(error, OutcomeUnknownError)

        assert not isinstance(await failure(url, method="GET"), OutcomeUnknownError)


async def test_silent_server_is_a_timeout() -> None:
    async with silent_server() as url:
        error = await failure(url, limit=SHORT)

    assert str(error) == f"no response from {url.removeprefix('http://')}: timeout after 2 s"
    assert isinstance(error, OutcomeUnknownError)


async def test_open_circuit_reports_the_cause() -> None:
    clients = HttpClients.with_timeouts(connect=TIMEOUT, read=TIMEOUT)
    errors: list[RetryableError] = []
    async with clients:
        http_client = CloudHttpClient(client=clients.get(), timeout=TIMEOUT)
        for number in range(THRESHOLD + 1):
            request = http_client.client.build_request("GET", f"{UNUSED}/v2/{number}")
            with pytest.raises(RetryableError) as caught:
                await http_client.send(request)
            errors.append(caught.value)

    assert isinstance(errors[-1], CircuitOpenError)
    assert set(map(str, errors)) == {"no connection to 127.0.0.1:1: connection refused"}


async def test_failed_circuit_reports_a_server_error_with_its_endpoint() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(503))
    async with httpx.AsyncClient(transport=transport) as client:
        http_client = CloudHttpClient(client=client, timeout=TIMEOUT)
        for _ in range(THRESHOLD):
            await http_client.send(client.build_request("GET", "https://ims.test/v2"))
        with pytest.raises(CircuitOpenError, match=r"^ims\.test:443: HTTP 503$"):
            await http_client.send(client.build_request("GET", "https://ims.test/v2"))
