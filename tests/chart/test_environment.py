"""What the chart puts into the environment reaches the requests to the cloud."""

import asyncio
import contextlib
import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509

from image_share_operator.cloud.http.transport import HttpClients
from image_share_operator.settings import Settings

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
TIMEOUT = timedelta(minutes=1)


class Endpoint:
    """An https endpoint whose certificate is signed by an authority of its own."""

    def __init__(self, authority: trustme.CA) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(self._context)
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=self._context)
        async with server:
            self.port = server.sockets[0].getsockname()[1]
            yield f"https://localhost:{self.port}/"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
        writer.close()


class Proxy:
    """A proxy that passes on what comes and notes where it went."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._tunnels: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._tunnel, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await asyncio.gather(*self._tunnels)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked.append(target)
        host, _, port = target.rpartition(":")
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pass_on(reader, their_writer), pass_on(their_reader, writer))
        for one in (writer, their_writer):
            with contextlib.suppress(ConnectionError):
                await one.wait_closed()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def fetch(url: str) -> int:
    told = Settings.from_env(os.environ)
    clients = HttpClients.with_timeouts(
        connect=TIMEOUT,
        read=TIMEOUT,
        proxy=told.https_proxy,
        no_proxy=told.no_proxy,
    )
    client = clients.get()
    async with clients:
        return (await client.get(url)).status_code


def write_authority(authority: trustme.CA, path: Path) -> None:
    authority.cert_pem.write_to_path(path)


def subject_hash(authority: trustme.CA) -> str:
    """What OpenSSL looks for in its directory; source: X509_NAME_hash(3), x509_name_canon."""
    certificate = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    plain = [
        x509.NameAttribute(part.oid, " ".join(str(part.value).split()).lower())
        for part in certificate.subject
    ]
    encoded = x509.Name(plain).public_bytes()
    inner = encoded[2 if encoded[1] < 0x80 else 2 + (encoded[1] & 0x7F) :]
    digest = hashlib.sha1(inner, usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


async def test_unknown_authority_is_refused() -> None:
    async with Endpoint(trustme.CA()).serving() as url:
        with pytest.raises(httpx.TransportError, match="unable to get local issuer certificate"):
            await fetch(url)


async def test_authorities_of_the_chart_are_trusted_besides_those_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE replaces OpenSSL's file; its directory, which images use, stays."""
    extra, of_the_image = trustme.CA(), trustme.CA()
    directory = tmp_path / "etc-ssl-certs"
    directory.mkdir()
    write_authority(extra, tmp_path / "ca.crt")
    write_authority(of_the_image, directory / f"{subject_hash(of_the_image)}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(directory))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))

    for authority in (extra, of_the_image):
        async with Endpoint(authority).serving() as url:
            assert await fetch(url) == httpx.codes.OK


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    authority = trustme.CA()
    write_authority(authority, tmp_path / "ca.crt")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    return Endpoint(authority)


@pytest.mark.parametrize("others", ["", "local,host,ocalhost,localhost:1,10.0.0.0/8"])
async def test_cloud_is_reached_through_the_proxy(
    others: str, trusted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()

    async with trusted.serving() as url, proxy.serving() as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("NO_PROXY", others)
        assert await fetch(url) == httpx.codes.OK

    assert proxy.asked == [f"localhost:{trusted.port}"]


@pytest.mark.parametrize("hosts", ["10.0.0.1,localhost", " .LOCALHOST", "*", "localhost:{port}"])
async def test_hosts_of_no_proxy_are_reached_without_it(
    hosts: str, trusted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()

    async with trusted.serving() as url, proxy.serving() as address:
        monkeypatch.setenv("HTTPS_PROXY", address)
        monkeypatch.setenv("NO_PROXY", hosts.format(port=trusted.port))
        assert await fetch(url) == httpx.codes.OK

    assert proxy.asked == []


async def test_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{port}")
        with pytest.raises(
            httpx.TransportError, match="the proxy returned HTTP 407 for CONNECT"
        ) as caught:
            await fetch("https://ims.example.com/")

    assert b"proxy-authorization: Basic bWU6c2VjcmV0\r\n" in asked[0]
    assert "secret" not in str(caught.value)
