"""The event filter: removes events from a watch, and objects from a list, before kopf parses them.

Two of three events are own status updates, and a shard needs few of the events. kopf needs 0.3 ms
to parse and handle an event, the filter 3 µs (ADR 10).
"""

import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Generator
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from image_share_operator.api.types import Key

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

MODIFIED = b'{"type":"MODIFIED",'
END_OF_METADATA = re.compile(
    rb'"name":"([^"]+)","namespace":"([^"]+)","resourceVersion":"(\d+)","uid":"([^"]+)"\},"spec":'
)
"""The last keys of an object's metadata: the API server sorts keys and writes no spaces. A label
or an annotation cannot match, because the spec follows."""
MAX_SILENCE_S = 1.0
"""Seconds without a line after which the next line is passed on in any case. After a disconnect
kopf continues from the last version that it received, and the API server forgets old versions."""

MAX_RETRY_AFTER_DIGITS = 6
"""kopf ends when it cannot represent the number. `SyncCheck` restarts kopf long before."""

IsKnown = Callable[[Key, str, int], bool]
"""Whether an object (key, uid, resourceVersion) needs no handling. Must not block."""
FilterPage = Callable[[Any], Any]
"""Maps the JSON of each response that is not a watch to what kopf receives. Must not block."""


class EventFilter:
    """Decides for each line of one watch stream whether kopf receives it."""

    def __init__(self, is_known: IsKnown, clock: Callable[[], float] = time.monotonic) -> None:
        self._is_known = is_known
        self._clock = clock
        self._passed_at = clock()

    def passes(self, line: bytes) -> bool:
        """Whether kopf receives the line. A line that cannot be read is passed on."""
        now = self._clock()
        if now < self._passed_at + MAX_SILENCE_S and self._is_known_event(line):
            return False
        self._passed_at = now
        return True

    def _is_known_event(self, line: bytes) -> bool:
        if not line.startswith(MODIFIED):
            return False
        match = END_OF_METADATA.search(line)
        if match is None:
            return False
        name, namespace, version, uid = (part.decode() for part in match.groups())
        return self._is_known(Key(namespace, name), uid, int(version))


class _FilteredContent:
    """The body of a watch response; kopf reads it by `iter_chunked`."""

    def __init__(self, content: aiohttp.StreamReader, event_filter: EventFilter) -> None:
        self._content = content
        self._event_filter = event_filter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield complete lines that pass the filter."""
        rest = b""
        with _closed_session():
            async for data in self._content.iter_chunked(size):
                *lines, rest = (rest + data).split(b"\n")
                passed = [line for line in lines if self._event_filter.passes(line)]
                if passed:
                    yield b"\n".join((*passed, b""))
        if rest:
            yield rest


@contextlib.contextmanager
def _closed_session() -> Generator[None]:
    """Raise the error for which kopf sends the request again, where aiohttp raises RuntimeError.

    After a 401, kopf closes its session. Another response of it may have begun just then: aiohttp
    raises RuntimeError when kopf reads it, and kopf would end.
    """
    try:
        yield
    except RuntimeError as exc:
        raise aiohttp.ClientConnectionError(str(exc)) from exc


def _without_date(headers: "CIMultiDictProxy[str]") -> "CIMultiDictProxy[str]":
    """Return the headers with Retry-After in seconds. kopf ends when it is a date (RFC 9110).

    The API server sends seconds. A load balancer before it may send a date. It is relative to the
    ``Date`` of the same response, because the clocks may differ.
    """
    text = headers.get("Retry-After", "")
    if not text or (text.isdecimal() and len(text) <= MAX_RETRY_AFTER_DIGITS):
        return headers
    changed = headers.copy()
    del changed["Retry-After"]
    with contextlib.suppress(LookupError, OverflowError, TypeError, ValueError):
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])
        changed["Retry-After"] = str(max(int(wait.total_seconds()), 1))
    return type(headers)(changed)


def response_class(is_known: IsKnown, filter_page: FilterPage) -> type[aiohttp.ClientResponse]:
    """Return the response class for the aiohttp session of kopf."""

    class Response(aiohttp.ClientResponse):
        @property
        def headers(self) -> "CIMultiDictProxy[str]":
            return _without_date(self._headers)

        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            await super().start(connection)
            if self.status == HTTPStatus.OK and "watch" in self.url.query:
                self.content = cast(
                    "aiohttp.StreamReader", _FilteredContent(self.content, EventFilter(is_known))
                )
            return self

        async def json(self, **options: Any) -> Any:
            with _closed_session():
                return filter_page(await super().json(**options))

        def close(self) -> None:
            self._abort()
            super().close()

        def release(self) -> Any:
            self._abort()
            return super().release()

        def _abort(self) -> None:
            """Abort the connection of an incomplete response, which cannot be reused.

            A graceful close of TLS waits for the peer, and the loop may be closed before.
            """
            if self.connection is not None and self.connection.transport is not None:
                self.connection.transport.abort()

    return Response
