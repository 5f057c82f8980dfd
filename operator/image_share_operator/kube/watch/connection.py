"""The HTTP session that kopf lists and watches with."""

from collections.abc import Mapping
from dataclasses import replace

import aiohttp
import kopf

from image_share_operator.kube.watch.event_filter import response_class
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watch_state import WatchState


def for_kopf(
    found: kopf.ConnectionInfo, watch_state: WatchState, ingest: Ingest
) -> kopf.AiohttpSession:
    """As kopf would make it, and it tells its requests. kopf closes it."""
    return kopf.AiohttpSession(
        server=found.server,
        default_namespace=found.default_namespace,
        expiration=found.expiration,
        aiohttp_session=aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=found.as_ssl_context()),
            headers=found.as_http_headers(),
            proxy=found.proxy_url,
            trust_env=found.trust_env,
            trace_configs=[watch_state.trace()],
            response_class=response_class(ingest.is_known, ingest.page),
        ),
    )


def by_address(found: kopf.ConnectionInfo, env: Mapping[str, str]) -> kopf.ConnectionInfo:
    """The same API server as the other calls ask: where the pod is told that it is.

    kopf would ask the cluster's DNS for it, which may be away when it is needed most.
    """
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        return found
    name = f"[{host}]" if ":" in host else host
    return replace(found, server=f"https://{name}:{port}")
