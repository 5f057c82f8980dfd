"""The hosts of a region, for ServiceAccounts: a proxy ends TLS and leads to the simulated cloud.

A spec with ``serviceAccount`` has no endpoints of its own, only a region. An operator with this
`Region.env` reaches the hosts of the region through the proxy, which connects to the simulator
whatever it is asked for. When the simulator is offline, the proxy refuses the tunnel.
"""

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path

import httpx
import trustme

from envtest.processes import Running

HOSTS = ("iam.eu-de.otc.t-systems.com", "ims.eu-de.otc.t-systems.com")
CHUNK_BYTES = 2**16
FLUSH_S = 1.0
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
REFUSED = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Region(Running):
    """The proxy, in a thread of its own; a context manager.

    Args:
        url: the simulator's.
        directory: where the certificate of the authority is written.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self._upstream = httpx.URL(url)
        self._ca = directory / "region-ca.crt"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-region")
        self._connections: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        authority = trustme.CA()
        authority.cert_pem.write_to_path(self._ca)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*HOSTS).configure_cert(self._tls)
        self._thread.start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        port = self._server.sockets[0].getsockname()[1]
        self.env = {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "SSL_CERT_FILE": str(self._ca)}

    def stop(self) -> None:
        """Close all connections."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            # Either side may be gone at any time: that ends the tunnel, as with a real proxy.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._tunnel(reader, writer)
        finally:
            self._connections.discard(task)
            await _close(writer)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # CONNECT, to any host
        host, port = self._upstream.host, self._upstream.port
        try:
            back, forth = await asyncio.open_connection(host, port)
        except OSError:
            writer.write(REFUSED)
            await writer.drain()
            return
        try:
            writer.write(TUNNEL)
            await writer.start_tls(self._tls)
            pumps = {
                asyncio.ensure_future(_pump(reader, forth)),
                asyncio.ensure_future(_pump(back, writer)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            await _close(forth)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a connection after what was written to it, if the other side still reads."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), FLUSH_S)
    writer.transport.abort()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK_BYTES):
        target.write(data)
        await target.drain()
