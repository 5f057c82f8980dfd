"""The state of the watch, from its HTTP requests: open streams, lists, and the number of objects.

kopf lists and watches again within one run, and does not report it.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from image_share_operator.api.types import GROUP, PLURAL, VERSION


class WatchState:
    """The watch streams of one run of kopf: one for all namespaces, or one for each namespace.

    Written in the thread of the watch, read from any thread.
    """

    def __init__(self, namespaces: Sequence[str]) -> None:
        self._namespace_by_path = {_path(namespace): namespace for namespace in namespaces or ("",)}
        self._open: set[str] = set()
        self._uids: dict[str, set[str]] = {namespace: set() for namespace in namespaces or ("",)}
        self._list_count = 0

    @property
    def all_open(self) -> bool:
        """Whether all streams were opened, and none is known to be closed."""
        return len(self._open) == len(self._namespace_by_path)

    @property
    def list_count(self) -> int:
        """The number of lists that were started."""
        return self._list_count

    @property
    def object_count(self) -> int:
        """The number of objects in the latest lists and in the events after them."""
        return sum(len(uids) for uids in self._uids.values())

    def count(self, event: Mapping[str, Any]) -> None:
        """Count the object of a watch event, or of a list (type ``None``)."""
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        uids = self._uids.get("") if "" in self._uids else self._uids.get(metadata["namespace"])
        if uids is None:
            return
        if event["type"] == "DELETED":
            uids.discard(metadata["uid"])
        else:
            uids.add(metadata["uid"])

    def trace_config(self) -> aiohttp.TraceConfig:
        """Return the trace for an aiohttp session whose requests are followed."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._on_request_start)
        config.on_request_end.append(self._on_request_end)
        return config

    async def _on_request_start(
        self, _: aiohttp.ClientSession, __: Any, params: aiohttp.TraceRequestStartParams
    ) -> None:
        """A new request means that the last stream of this path is closed."""
        namespace = self._namespace_by_path.get(params.url.path)
        if namespace is None:
            return
        self._open.discard(namespace)
        if "watch" not in params.url.query and "continue" not in params.url.query:
            self._list_count += 1
            self._uids[namespace] = set()

    async def _on_request_end(
        self, _: aiohttp.ClientSession, __: Any, params: aiohttp.TraceRequestEndParams
    ) -> None:
        """The response of a watch has started: its stream is open."""
        namespace = self._namespace_by_path.get(params.url.path)
        if (
            namespace is not None
            and "watch" in params.url.query
            and params.response.status == HTTPStatus.OK
        ):
            self._open.add(namespace)


def _path(namespace: str) -> str:
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{where}/{PLURAL}"
