"""Reads JSON from responses that may have any content. No I/O."""

import json
import re
from collections.abc import Iterable
from typing import Any, cast

import httpx

Json = dict[str, Any]

MAX_WORD_CHARS = 64
"""Longer words are cut out of messages: a token has kilobytes, an ID 36 characters."""
MAX_TEXT_CHARS = 200
"""Longer texts are cut: several of them fit into one condition message."""
MAX_NAME_CHARS = 128
"""Longer names are cut; IMS allows as many."""
MAX_VALUES = 100_000
"""JSON values in one body: 200 for each image of a page. Ten MB of ``{}`` use 200 MB of memory."""

_CODE_KEYS = ("code", "error_code", "errorCode")
_TEXT_KEYS = ("message", "error_msg", "errorMsg")
_CODE = re.compile(r"[A-Z]{2,8}\.\d{3,5}")
_MARKUP = re.compile(r"<[A-Za-z/!][^<>]*>")


def parse_body(response: httpx.Response) -> Json:
    """The JSON object of a response; empty when the body is anything else or too large."""
    content = response.content
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
        if not isinstance(value, dict):
            return None
        value = cast("Json", value).get(step)
    return value


def dig_text(value: object, *path: str) -> str | None:
    """The text under nested keys; ``None`` when there is none or it is empty."""
    found = dig(value, *path)
    return found if isinstance(found, str) and found else None


def dig_line(value: object, *path: str) -> str | None:
    """The text under nested keys, made safe for a message by `one_line`."""
    found = dig_text(value, *path)
    return None if found is None else one_line(found)


def name_line(text: str) -> str:
    """A name on one line: no control or direction characters, and up to `MAX_NAME_CHARS`."""
    cut = text if len(text) <= MAX_NAME_CHARS else text[: MAX_NAME_CHARS - 1] + "…"
    return _printable(cut)


def one_line(text: str) -> str:
    """One line of up to `MAX_TEXT_CHARS` printable characters; long words are cut out."""
    if len(text) <= MAX_WORD_CHARS and text.isalnum():
        return text
    words = (word if len(word) <= MAX_WORD_CHARS else "(cut)" for word in text.split())
    line = _printable(" ".join(words))
    return line if len(line) <= MAX_TEXT_CHARS else line[: MAX_TEXT_CHARS - 1] + "…"


def _printable(text: str) -> str:
    """The text with ``?`` in place of control and direction characters; most texts have none."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)


def error_of(
    response: httpx.Response, secrets: Iterable[str] = ()
) -> tuple[str | None, str | None]:
    """The code (``IMG.0060``) and the text of an error body, in each of its known shapes.

    Keystone has an integer (the HTTP status) in the field of the code: it is not returned.

    Args:
        secrets: removed from the text, before it is cut: a cut one would not be found.
    """
    hide = tuple(secrets)
    body = parse_body(response)
    wrapped = next((inner for inner in map(as_object, body.values()) if inner is not None), None)
    for shape in (as_object(body.get("error")), body, wrapped):
        code = next(filter(None, (dig_text(shape, key) for key in _CODE_KEYS)), "").strip().upper()
        text = next(filter(None, (_plain_text(shape, key, hide) for key in _TEXT_KEYS)), None)
        if code or text:
            return code if _CODE.fullmatch(code) else None, text
    return None, None


def _plain_text(value: object, key: str, secrets: tuple[str, ...]) -> str | None:
    """The text under a key without HTML; ``None`` for a page, and for advice to a web browser.

    Source: webob, the library of Glance: ``WSGIHTTPException`` and ``HTTPUnauthorized``.
    """
    found = dig_text(value, key) or ""
    for secret in secrets:
        found = found.replace(secret, "(token)")
    plain = one_line(_MARKUP.sub(" ", found))
    is_page = found.lstrip().startswith("<")
    return None if is_page or "your browser" in plain else plain or None


def request_line(response: httpx.Response) -> str:
    """Method and path of the request, without the query. IDs in the path are the user's own."""
    return f"{response.request.method} {response.request.url.path}"
