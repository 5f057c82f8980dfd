"""Private certificate authorities: which clients share connections, and how many stay open."""

import asyncio
import gc
import hashlib
import ssl
import weakref
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest
import trustme

from image_share_operator.cloud.http.ca_bundle import CaBundle, read_bundle
from image_share_operator.cloud.http.transport import MAX_AUTHORITIES, HttpClients

URL = "https://ims.test"
SECOND = timedelta(seconds=1)


class Wire:
    """Counts open transports; responds while ``may_respond`` is set."""

    def __init__(self) -> None:
        self.opened: list[str | bytes | None] = []
        self.closed = 0
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.clients = HttpClients(self._build, httpx.Timeout(1))

    @property
    def open_now(self) -> int:
        return len(self.opened) - self.closed

    def _build(self, trusted: CaBundle | None) -> httpx.AsyncBaseTransport:
        self.opened.append(None if trusted is None else trusted.data)
        return _Transport(self)


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert not self._closed
        return httpx.Response(200, stream=_Stream(self._wire), request=request)

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self._closed = True
        self._wire.closed += 1


class _Stream(httpx.AsyncByteStream):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._wire.may_respond.wait()
        yield b"{}"


async def test_unused_authorities_are_closed() -> None:
    wire = Wire()
    await wire.clients.get().get(URL)
    for number in range(3 * MAX_AUTHORITIES):
        await wire.clients.get(f"authority {number}").get(URL)

        assert wire.open_now <= 1 + MAX_AUTHORITIES

    async with wire.clients:
        await wire.clients.get().get(URL)
        assert wire.opened.count(None) == 1
    assert wire.open_now == 0


async def test_closed_authority_is_opened_again_when_used() -> None:
    wire = Wire()
    first = wire.clients.get("first")
    await first.get(URL)
    for number in range(MAX_AUTHORITIES):
        await wire.clients.get(f"authority {number}").get(URL)

    await first.get(URL)

    assert wire.opened.count("first") == 2


async def test_authority_in_use_is_not_closed_before_the_response_is_read() -> None:
    wire = Wire()
    wire.may_respond.clear()
    async with asyncio.TaskGroup() as group:
        requests = [
            group.create_task(wire.clients.get(f"authority {number}").get(URL))
            for number in range(2 * MAX_AUTHORITIES)
        ]
        for _ in range(5):
            await asyncio.sleep(0)
        assert (wire.open_now, wire.closed) == (2 * MAX_AUTHORITIES, 0)
        wire.may_respond.set()

    assert [(await one).status_code for one in requests] == [200] * 2 * MAX_AUTHORITIES
    await wire.clients.get("authority 0").get(URL)
    assert wire.open_now == MAX_AUTHORITIES


async def test_cancelled_request_keeps_no_connection_in_use() -> None:
    wire = Wire()
    wire.may_respond.clear()
    for number in range(2 * MAX_AUTHORITIES):
        client = wire.clients.get(f"authority {number}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get(URL), 0)
        task = asyncio.create_task(client.get(URL))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert wire.open_now <= MAX_AUTHORITIES


@pytest.fixture(scope="module")
def pems() -> tuple[str, str]:
    return trustme.CA().cert_pem.bytes().decode(), trustme.CA().cert_pem.bytes().decode()


def test_bundle_key_ignores_order_comments_and_line_ends(pems: tuple[str, str]) -> None:
    one, two = pems
    variants = {
        one + two,
        two + one,
        f"# ours\n{one}\n\n# theirs\n{two}# end",
        (one + two).replace("\n", "\r\n"),
        one + two + one,
    }

    assert len({read_bundle(text).key for text in variants}) == 1
    assert read_bundle(one).key != read_bundle(two).key
    assert read_bundle(one).key != read_bundle(one + two).key


FORGED = {
    "in the middle of a line": "# {theirs}{ours}",
    "invalid base64": "-----BEGIN CERTIFICATE-----\n*{body}{ours}",
    "with a header": "-----BEGIN CERTIFICATE-----\nX: y\n\n{body}{ours}",
    "of another kind": "-----BEGIN TRUSTED CERTIFICATE-----\n{body}{ours}",
}


@pytest.mark.parametrize("form", FORGED.values(), ids=FORGED)
def test_bundle_key_depends_on_the_trusted_certificates(pems: tuple[str, str], form: str) -> None:
    """No text gets the key of an authority without trust in that authority."""
    ours, theirs = pems
    body = theirs.split("-----BEGIN CERTIFICATE-----\n")[1]

    read = read_bundle(form.format(ours=ours, theirs=theirs, body=body))

    hashed = read.data.encode() if isinstance(read.data, str) else read.data
    assert hashlib.sha256(hashed).hexdigest() == read.key
    assert read.key != read_bundle(theirs).key


def test_bundle_data_contains_all_certificates(pems: tuple[str, str]) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    tls.load_verify_locations(cadata=read_bundle("".join(pems)).data)

    assert set(tls.get_ca_certs(binary_form=True)) == {ssl.PEM_cert_to_DER_cert(p) for p in pems}


async def test_response_is_freed_without_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        response = await Wire().clients.get().get(URL)
        assert response.json() == {}
        reference = weakref.ref(response)
        del response
        left = reference()
    finally:
        gc.enable()

    assert left is None
