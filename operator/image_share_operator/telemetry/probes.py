"""The HTTP server for kubelet and Prometheus: `/healthz`, `/readyz`, `/metrics`.

It runs in the event loop of the reconciles. If this loop is blocked, the probe times out and
kubelet restarts the container.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

Why = Callable[[], str | None]

READY_WAIT_S = 2.0
"""How long `/readyz` waits until the replica is ready. A new leader takes less than 1 s (measured).
Without the wait, kubelet would report an Event `Unhealthy`. The probe's timeout must be longer."""
POLL_S = 0.05


class Health(Protocol):
    """State for the probes; ``None`` means healthy."""

    def why_dead(self) -> str | None:
        """Return the reason why the process must be restarted."""
        ...

    def why_not_ready(self) -> str | None:
        """Return the reason why the replica cannot reconcile."""
        ...


@contextlib.asynccontextmanager
async def serving(
    port: socket.socket | None,
    registry: CollectorRegistry,
    health: Health,
    *,
    ready_wait_s: float = READY_WAIT_S,
) -> AsyncGenerator[None]:
    """Serve on a port within this context, then close it. Without a port, do not serve."""
    if port is None:
        yield
        return

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/healthz", _probe(health.why_dead, wait_s=0))
    app.router.add_get("/readyz", _probe(health.why_not_ready, wait_s=ready_wait_s))
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, port).start()
        yield
    finally:
        await runner.cleanup()


def _probe(why: Why, *, wait_s: float) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def respond(_: web.Request) -> web.Response:
        for _attempt in range(round(wait_s / POLL_S)):
            if why() is None:
                break
            await asyncio.sleep(POLL_S)
        reason = why()
        status = 200 if reason is None else 503
        return web.Response(status=status, text=f"{reason or 'ok'}\n")

    return respond
