"""Faults of the wire: resets, broken JSON, slow bodies. Knows sockets, nothing of the cloud."""

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from aiohttp import web

from otc_simulator.faults import Effect

DRIPS = 20
"""In how many pieces a slow body comes."""


class ResetError(Exception):
    """The connection is to be reset instead of an answer."""


def http_date(at: datetime, seconds_later: float = 0.0) -> str:
    return format_datetime(at + timedelta(seconds=seconds_later), usegmt=True)


def reset_connection(request: web.Request) -> web.Response:
    """Send RST; the response that is returned can no longer be written, which is meant."""
    transport = request.transport
    if transport is not None:
        sock = transport.get_extra_info("socket")
        # A linger of zero seconds makes the close a reset instead of an orderly end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


async def send_badly(
    request: web.Request, response: web.Response, effect: Effect
) -> web.StreamResponse:
    """Spoil a whole answer as the effect says and send it."""
    body = _spoiled(response.body if isinstance(response.body, bytes) else b"", effect)
    headers = response.headers.copy()
    for name in ("Content-Length", "Transfer-Encoding"):
        headers.pop(name, None)
    status = response.status
    if effect.success_status is not None and status < HTTPStatus.MULTIPLE_CHOICES:
        status = effect.success_status
    if effect.truncate is None and not effect.drip_seconds and not effect.close:
        return web.Response(status=status, headers=headers, body=body)
    sent = body[: len(body) // 2] if effect.truncate else body
    stream = web.StreamResponse(status=status, headers=headers)
    stream.content_length = len(body) if effect.truncate == "connection" else len(sent)
    await stream.prepare(request)
    try:
        await _drip(stream, sent, effect.drip_seconds or 0.0)
    except ConnectionResetError:  # the caller had enough of it
        return stream
    if effect.truncate == "connection":
        _hang_up(request)
        return stream
    await stream.write_eof()
    if effect.close:
        _hang_up(request)
    return stream


async def _drip(stream: web.StreamResponse, body: bytes, over_seconds: float) -> None:
    if not over_seconds:
        await stream.write(body)
        return
    size = max(1, -(-len(body) // DRIPS))
    for start in range(0, len(body), size):
        await asyncio.sleep(over_seconds / DRIPS)
        await stream.write(body[start : start + size])


def _hang_up(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()


def _spoiled(body: bytes, effect: Effect) -> bytes:
    rows = effect.patch_rows or effect.drop_row_keys or effect.max_rows is not None
    if not (effect.patch or effect.drop or rows):
        return body
    told: Any = json.loads(body)
    if rows and isinstance(told.get("images"), list):
        told["images"] = [
            _changed(row, effect.patch_rows, effect.drop_row_keys)
            for row in told["images"][: effect.max_rows]
        ]
    return json.dumps(_changed(told, effect.patch, effect.drop)).encode()


def _changed(
    told: Mapping[str, object], patch: Mapping[str, object], drop: tuple[str, ...]
) -> dict[str, object]:
    return {name: value for name, value in {**told, **patch}.items() if name not in drop}
