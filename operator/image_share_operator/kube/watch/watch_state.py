"""What the requests of a watch tell about it: which streams are open, what the lists brought.

kopf tells nobody: it lists and watches again and again by itself, within one run.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import aiohttp

from image_share_operator.api.types import GROUP, PLURAL, VERSION


class WatchState:
    """The streams of one run of the watch: one for all namespaces, or one for each.

    Written in the watching thread, read from any.
    """

    def __init__(self, namespaces: Sequence[str]) -> None:
        self._by_path = {_path(namespace): namespace for namespace in namespaces or ("",)}
        self._open: set[str] = set()
        self._there: dict[str, set[str]] = {namespace: set() for namespace in namespaces or ("",)}
        self._lists = 0

    @property
    def are_open(self) -> bool:
        """Whether the API server has let all streams begin, and none is known to have ended."""
        return len(self._open) == len(self._by_path)

    @property
    def lists(self) -> int:
        """How many lists were begun; what an earlier one brought does not count any more."""
        return self._lists

    @property
    def objects(self) -> int:
        """How many objects the latest lists have brought and the streams after them."""
        return sum(len(uids) for uids in self._there.values())

    def brought(self, event: Mapping[str, Any]) -> None:
        """Take note of an event."""
        metadata: Mapping[str, Any] = event["object"]["metadata"]
        uids = self._there.get("") if "" in self._there else self._there.get(metadata["namespace"])
        if uids is None:
            return
        if event["type"] == "DELETED":
            uids.discard(metadata["uid"])
        else:
            uids.add(metadata["uid"])

    def trace(self) -> aiohttp.TraceConfig:
        """What makes a session of aiohttp tell its requests."""
        made = aiohttp.TraceConfig()
        made.on_request_start.append(self._begins)
        made.on_request_end.append(self._answered)
        return made

    async def _begins(
        self, _: aiohttp.ClientSession, __: Any, asked: aiohttp.TraceRequestStartParams
    ) -> None:
        """A request for a stream is made when there is none: the last one has ended."""
        namespace = self._by_path.get(asked.url.path)
        if namespace is None:
            return
        self._open.discard(namespace)
        if "watch" not in asked.url.query and "continue" not in asked.url.query:
            self._lists += 1
            self._there[namespace] = set()

    async def _answered(
        self, _: aiohttp.ClientSession, __: Any, asked: aiohttp.TraceRequestEndParams
    ) -> None:
        namespace = self._by_path.get(asked.url.path)
        if (
            namespace is not None
            and "watch" in asked.url.query
            and asked.response.status == HTTPStatus.OK
        ):
            self._open.add(namespace)


def _path(namespace: str) -> str:
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{GROUP}/{VERSION}{where}/{PLURAL}"
