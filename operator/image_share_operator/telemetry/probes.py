"""The HTTP server for kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`.

It runs in the event loop of the reconciles. If this loop is blocked, the probe times out and
kubelet restarts the container.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Why = Callable[[], str | None]


class Health(Protocol):
    """State for the probes; ``None`` means healthy."""

    def why_dead(self) -> str | None:
        """Return the reason why the process must be restarted."""
        ...

    def why_not_ready(self) -> str | None:
        """Return the reason why the replica cannot reconcile."""
        ...


@contextlib.asynccontextmanager
async def serving(port: int, registry: CollectorRegistry, health: Health) -> AsyncGenerator[None]:
    """Serve on all addresses within this context. With port 0, do not serve.

    Raises:
        OSError: the port is in use.
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
    async def respond(_: web.Request) -> web.Response:
        reason = why()
        status = 200 if reason is None else 503
        return web.Response(status=status, text=f"{reason or 'ok'}\n")

    return respond
