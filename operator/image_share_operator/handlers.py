"""The kopf handlers: one for the login, one for the events of resources.

kopf only lists and watches. The package `controller` reconciles, with its own work queue: `Ingest`
stores the object and queues its key, `Workers` takes the key from the queue and calls
`Reconciler.reconcile`. `wiring.py` connects these parts.
"""

import os
from datetime import timedelta
from typing import Any

import kopf

from image_share_operator.api.types import GROUP, PLURAL, VERSION
from image_share_operator.kube.watch import connection
from image_share_operator.kube.watch.ingest import Ingest
from image_share_operator.kube.watch.watch_state import WatchState


def registry(
    ingest: Ingest, watch_state: WatchState, *, login_interval: timedelta
) -> kopf.OperatorRegistry:
    """Create the handlers. Uses `on.event`, the only handler that writes nothing to the objects.

    Args:
        login_interval: the shortest time between two logins. kopf logs in at each 401, and sends
            the request again at once.
    """
    handlers = kopf.OperatorRegistry()
    pace = connection.Pace(login_interval)

    @kopf.on.login(registry=handlers)
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        await pace.wait()
        info = kopf.login_with_service_account(**kwargs)
        if info is not None:
            info = connection.with_service_address(info, os.environ)
            return connection.session(info, watch_state, ingest)
        info = kopf.login_with_kubeconfig(**kwargs)
        return None if info is None else connection.session(info, watch_state, ingest)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers)
    async def handle_event(event: kopf.RawEvent, **_: Any) -> None:
        ingest.handle_event(event)

    return handlers
