"""The port for kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`.

Served by the loop that does the work: when it is stuck, nobody answers, and kubelet restarts the
process.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Why = Callable[[], str | None]


class Health(Protocol):
    """What the probes ask. ``None`` is the good answer."""

    def why_dead(self) -> str | None:
        """Why only a restart helps."""
        ...

    def why_not_ready(self) -> str | None:
        """Why the replica can't do its work."""
        ...


@contextlib.asynccontextmanager
async def serving(port: int, registry: CollectorRegistry, health: Health) -> AsyncGenerator[None]:
    """Serve on all addresses while the context lasts; port 0 serves nothing.

    Raises:
        OSError: the port is taken.
    """
    if not port:
        yield
        return

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", _probe(health.why_dead))
    app.router.add_get("/readyz", _probe(health.why_not_ready))
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield
    finally:
        await runner.cleanup()


def _probe(why: Why) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        trouble = why()
        status = 200 if trouble is None else 503
        return web.Response(status=status, text=f"{trouble or 'ok'}\n")

    return answer
