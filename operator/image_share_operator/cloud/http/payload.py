"""What is in a response, read without trust. No I/O."""

import json
import re
from typing import Any, cast

import httpx

Json = dict[str, Any]

MAX_WORD = 64
"""Longer words are cut from what the cloud says: a token is kilobytes, an id 36 characters."""
MAX_TEXT = 200
MAX_VALUES = 100_000
"""In one body: 200 for each image of a page. Ten megabytes of ``{}`` become 200 MB of memory."""

_CODES = ("code", "error_code", "errorCode")
_TEXTS = ("message", "error_msg", "errorMsg")
_CODE = re.compile(r"[A-Z]{2,8}\.\d{3,5}")


def parse_body(response: httpx.Response) -> Json:
    """The JSON object of a response; empty when the body is anything else, or too much of it."""
    known = response.extensions.get(_PARSED)
    if known is None:
        known = response.extensions[_PARSED] = _parsed(response.content)
    return cast("Json", known)


_PARSED = "parsed"
"""Where a response keeps what its body says: several ask, and it is parsed once."""


def _parsed(content: bytes) -> Json:
    if sum(content.count(mark) for mark in (b"{", b"[", b",")) > MAX_VALUES:
        return {}
    try:
        return as_object(json.loads(content)) or {}
    except (ValueError, RecursionError):
        return {}


def as_object(value: object) -> Json | None:
    """The value if it is a JSON object, else ``None``."""
    return cast("Json", value) if isinstance(value, dict) else None


def dig(value: object, *path: str) -> object:
    """The value under nested keys; ``None`` where one is missing."""
    for step in path:
        inner = as_object(value)
        if inner is None:
            return None
        value = inner.get(step)
    return value


def dig_text(value: object, *path: str) -> str | None:
    """The text under nested keys; ``None`` when there is none or it is empty."""
    found = dig(value, *path)
    return found if isinstance(found, str) and found else None


def dig_line(value: object, *path: str) -> str | None:
    """As `dig_text`, fit for a message."""
    found = dig_text(value, *path)
    return None if found is None else one_line(found)


def one_line(text: str) -> str:
    """One line of at most `MAX_TEXT` printable characters, over-long words cut out."""
    words = (word if len(word) <= MAX_WORD else "(cut)" for word in text.split())
    line = "".join(char if char.isprintable() else "?" for char in " ".join(words))
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"


def error_of(response: httpx.Response) -> tuple[str | None, str | None]:
    """The code (``IMG.0060``) and the text of an error body, in any of its shapes.

    Keystone puts an integer where IMS puts its code: such a code is no code.
    """
    body = parse_body(response)
    wrapped = next((inner for inner in map(as_object, body.values()) if inner is not None), None)
    for shape in (as_object(body.get("error")), body, wrapped):
        code = next(filter(None, (dig_text(shape, key) for key in _CODES)), None)
        text = next(filter(None, (dig_line(shape, key) for key in _TEXTS)), None)
        if code or text:
            return code if code and _CODE.fullmatch(code) else None, text
    return None, None


def asked(response: httpx.Response) -> str:
    """Method and path. Queries are left out, ids stay: they are the user's own."""
    return f"{response.request.method} {response.request.url.path}"
