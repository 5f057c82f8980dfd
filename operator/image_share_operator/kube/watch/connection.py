"""The HTTP session that kopf lists and watches with."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import aiohttp
import kopf

from image_share_operator.kube.watch.event_filter import response_class
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watch_state import WatchState


def session(
    info: kopf.ConnectionInfo, watch_state: WatchState, ingest: Ingest
) -> kopf.AiohttpSession:
    """Create the session as kopf does, with the filter and the trace. kopf closes it."""
    return kopf.AiohttpSession(
        server=info.server,
        default_namespace=info.default_namespace,
        expiration=info.expiration,
        aiohttp_session=aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=info.trust_env,
            trace_configs=[watch_state.trace_config()],
            response_class=response_class(ingest.is_known, ingest.filter_page),
        ),
    )


def with_service_address(info: kopf.ConnectionInfo, env: Mapping[str, str]) -> kopf.ConnectionInfo:
    """Replace the server by the address in the environment of the pod, as `kube.client` uses it.

    kopf uses a DNS name of the cluster. The cluster DNS may fail when the operator starts.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return info
    name = f"[{host}]" if ":" in host else host
    return replace(info, server=f"https://{name}:{port}")


class Pace:
    """Keeps an interval between the ends of two waits."""

    def __init__(self, interval: timedelta) -> None:
        self._interval_s = interval.total_seconds()
        self._next = 0.0

    async def wait(self) -> None:
        """Wait until the interval is over. Returns at once the first time."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(self._next - loop.time(), 0.0))
        self._next = loop.time() + self._interval_s
