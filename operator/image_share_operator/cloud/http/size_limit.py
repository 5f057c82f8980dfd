"""Limits the size of a response: an endpoint in a spec may be any server."""

from collections.abc import AsyncIterator

import httpx

from image_share_operator.cloud.http import routes
from image_share_operator.cloud.http.no_response import Cause, NoResponseError

MAX_BODY_BYTES = 1024 * 1024
"""Limit of a body. The largest known one is a login response with the service catalog: 200 KB."""
MAX_LIST_BYTES = 4 * 1024 * 1024
"""Limit of a page of 500 images: 8 KB for each image, which has about 2 KB."""


class SizeLimitTransport(httpx.AsyncBaseTransport):
    """Stops reading a body when it exceeds the limit of its route.

    Refuses compressed bodies, which no request accepts: one megabyte can expand to a gigabyte.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request; limit the body of its response."""
        response = await self._inner.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            await response.aclose()
            raise NoResponseError(Cause.NOT_HTTP, "the response is compressed")
        if isinstance(response.stream, httpx.AsyncByteStream):
            is_list = request.extensions.get("route") in routes.LISTS
            limit = MAX_LIST_BYTES if is_list else MAX_BODY_BYTES
            response.stream = _LimitedStream(response.stream, limit)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _LimitedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._limit:
                detail = f"the response is larger than {self._limit >> 20} MiB"
                raise NoResponseError(Cause.TOO_LARGE, detail)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
