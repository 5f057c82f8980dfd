"""Name resolution: DNS servers that do not respond do not delay requests to other hosts."""

import asyncio
import struct
import threading
from datetime import timedelta
from typing import cast

import aiohttp
import httpx

from image_share_operator.cloud.http.transport import HttpClients

SECOND = timedelta(seconds=1)
SILENT = 200
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class SilentServer(asyncio.DatagramProtocol):
    """A DNS server that responds for one zone only, with 127.0.0.1."""

    def __init__(self) -> None:
        self.unanswered = set[bytes]()
        self.many = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        end = data.index(b"\0", 12) + 5  # of the name, its type and its class
        if b"\4good\4test\0" not in data[12:end]:
            self.unanswered.add(data[12 : end - 4])
            if len(self.unanswered) == SILENT:
                self.many.set()
            return
        wants_v4 = data[end - 3] == 1
        head = data[:2] + struct.pack(">5H", 0x8180, 1, wants_v4, 0, 0)
        row = struct.pack(">3HIH4B", 0xC00C, 1, 1, 1, 4, 127, 0, 0, 1)
        self._transport.sendto(head + data[12:end] + row * wants_v4, addr)


async def serve_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(RESPONSE)
    await writer.drain()
    writer.close()


async def test_silent_dns_servers_do_not_delay_other_names() -> None:
    loop = asyncio.get_running_loop()
    transport, silent = await loop.create_datagram_endpoint(
        SilentServer, local_addr=("127.0.0.1", 0)
    )
    at = ":".join(map(str, transport.get_extra_info("sockname")))
    resolver = aiohttp.AsyncResolver(nameservers=[at])
    clients = HttpClients.with_timeouts(connect=SECOND, read=SECOND, resolver=resolver)
    client = clients.get()
    server = await asyncio.start_server(serve_once, "127.0.0.1", 0)
    async with server, clients:
        waiting = {
            asyncio.create_task(client.get(f"http://n{number}.evil.test"))
            for number in range(SILENT)
        }
        await silent.many.wait()

        port = server.sockets[0].getsockname()[1]
        response = await client.get(f"http://iam.good.test:{port}")

        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
    await resolver.close()
    transport.close()
    assert response.status_code == httpx.codes.OK


async def test_name_resolution_uses_no_thread() -> None:
    """A pool of threads can be full, and its threads delay the end of the process."""
    clients = HttpClients.with_timeouts(connect=SECOND, read=SECOND)
    async with clients:
        client = clients.get()
        request = asyncio.create_task(client.get("https://host.invalid"))
        for _ in range(20):
            await asyncio.sleep(0)
        pool = [thread.name for thread in threading.enumerate() if "asyncio" in thread.name]
        request.cancel()
        await asyncio.wait([request])

    assert pool == []
