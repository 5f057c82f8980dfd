"""The server: one application behind a data port, which can go away, and a control port."""

import asyncio
import json
import os
import ssl
import sys
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from otc_simulator import control, federation, iam, ims_v1, ims_v2
from otc_simulator.gate import gate
from otc_simulator.world import WORLD, World

LARGEST_BODY_BYTES = 12 * 1024 * 1024
"""The gateway's cap (reference, 2.1)."""
PARENT_CHECK_SECONDS = 0.5
SHUTDOWN_SECONDS = 0.05
"""For calls in flight; zero would mean: wait for them without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None

    def url(self, port: int) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{port}"


class DataPort:
    """The port that the cloud is reached at; offline, connections to it are refused."""

    def __init__(self, runner: web.AppRunner, address: Address) -> None:
        self._runner = runner
        self._address = address
        self._site: web.TCPSite | None = None
        self._back: asyncio.TimerHandle | None = None
        self._returning: asyncio.Task[None] | None = None
        self.port = address.port

    async def go_online(self) -> None:
        if self._back is not None:
            self._back.cancel()
        if self._site is not None:
            return
        self._site = web.TCPSite(
            self._runner,
            self._address.host,
            self.port,
            ssl_context=self._address.tls,
            backlog=1024,
            reuse_address=True,
        )
        before = set(self._runner.addresses)
        await self._site.start()
        (opened,) = set(self._runner.addresses) - before
        self.port = opened[1]

    async def go_offline(self, seconds: float | None) -> None:
        """Stop listening and drop what is connected; come back after ``seconds``, if given."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        server = self._runner.server
        for connection in server.connections if server else ():
            transport = connection.transport
            if transport and transport.get_extra_info("sockname")[1] == self.port:
                transport.abort()
        # The sockets close in the loop's next round: let it pass before the caller is answered.
        await asyncio.sleep(0)
        if seconds is not None:
            self._back = asyncio.get_running_loop().call_later(seconds, self._return)

    def _return(self) -> None:
        self._returning = asyncio.ensure_future(self.go_online())


DATA_PORT = web.AppKey("data_port", DataPort)


async def go_offline(request: web.Request) -> web.Response:
    raw = await request.read()
    body = json.loads(raw) if raw else {}
    await request.app[DATA_PORT].go_offline(body.get("seconds"))
    return web.json_response({})


async def go_online(request: web.Request) -> web.Response:
    await request.app[DATA_PORT].go_online()
    return web.json_response({}, status=HTTPStatus.OK)


def application(world: World) -> web.Application:
    app = web.Application(middlewares=[gate], client_max_size=LARGEST_BODY_BYTES)
    app[WORLD] = world
    for module in (iam, federation, ims_v1, ims_v2, control):
        module.add_routes(app.router)
    app.router.add_route("POST", "/__sim/offline", go_offline)
    app.router.add_route("POST", "/__sim/online", go_online)
    return app


async def serve(app: web.Application, address: Address, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set or the parent process is gone."""
    # Read before the ready line: a parent that ends as soon as it is there must be missed.
    parent = os.getppid()
    world = app[WORLD]
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    data_port = app[DATA_PORT] = DataPort(runner, address)
    await runner.setup()
    try:
        await data_port.go_online()
        world.base_url = address.url(data_port.port)
        control_site = web.TCPSite(runner, "127.0.0.1", 0)
        await control_site.start()
        control_port = next(a[1] for a in runner.addresses if a[1] != data_port.port)
        ready = {
            "url": world.base_url,
            "control_url": f"http://127.0.0.1:{control_port}",
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        await _until_stopped(stop, parent)
    finally:
        await runner.cleanup()


async def _until_stopped(stop: asyncio.Event, parent: int) -> None:
    while not stop.is_set() and os.getppid() == parent:
        try:
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_SECONDS)
        except TimeoutError:
            continue
