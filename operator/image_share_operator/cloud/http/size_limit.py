"""How large an answer may be: whoever is at the other end may be anybody."""

from collections.abc import AsyncIterator

import httpx

from image_share_operator.cloud.http import routes

MAX_BODY_BYTES = 1024 * 1024
"""The largest that is known is a login whose answer has the whole catalog, some 200 KB."""
MAX_LIST_BYTES = 4 * 1024 * 1024
"""A page of 500 images with 8 KB each; they have about 2."""


class BodyTooLargeError(httpx.TransportError):
    """The body is over the bound of its route."""


class BoundedTransport(httpx.AsyncBaseTransport):
    """Refuses bodies over a bound while they arrive.

    Compressed ones too, which nobody asked for: one megabyte may unfold to a gigabyte.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on and put a bound on the body of its answer."""
        response = await self._inner.handle_async_request(request)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            await response.aclose()
            raise httpx.DecodingError("the body is compressed, which was not asked for")
        if isinstance(response.stream, httpx.AsyncByteStream):
            long = request.extensions.get("route") == routes.LIST
            most = MAX_LIST_BYTES if long else MAX_BODY_BYTES
            response.stream = _BoundedStream(response.stream, most)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _BoundedStream(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, most: int) -> None:
        self._inner = inner
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._most:
                raise BodyTooLargeError(f"the answer is over {self._most >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
