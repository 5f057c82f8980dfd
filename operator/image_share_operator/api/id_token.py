"""Reads a token of a ServiceAccount: its lifetime and the ID of its key. No I/O, no clock.

The signature is not verified: the token comes from the API server, and IAM verifies it.
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, cast

MAX_CHARS: Final = 16 * 1024
"""Limit of a token. One of a ServiceAccount has about 1,000 characters."""
_KEY_ID: Final = re.compile(r"[0-9A-Za-z._-]{1,64}")
"""The form of a key ID that is printed. kube-apiserver uses 43 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdToken:
    """A token of a ServiceAccount for IAM (JWT).

    Attributes:
        lifetime: from its issue to its end.
        key_id: of the key that signed it; ``None`` when it is missing or not printable.
    """

    value: str = field(repr=False)
    lifetime: timedelta
    key_id: str | None


def parse(value: str) -> IdToken:
    """Parse a token.

    Raises:
        ValueError: it is not a token with a lifetime; the message has no part of it.
    """
    parts = value.split(".") if len(value) <= MAX_CHARS and value.isascii() else []
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        raise ValueError("not a JSON Web Token")
    header, claims = _object(parts[0]), _object(parts[1])
    issued, ends, key_id = claims.get("iat"), claims.get("exp"), header.get("kid")
    if type(issued) is not int or type(ends) is not int or not 0 < issued < ends:
        raise ValueError("a token without a lifetime")
    printable = isinstance(key_id, str) and _KEY_ID.fullmatch(key_id)
    return IdToken(
        value=value,
        lifetime=timedelta(seconds=min(ends - issued, 10**9)),
        key_id=key_id if printable else None,
    )


def _object(part: str) -> dict[str, Any]:
    try:
        found: object = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("not a JSON Web Token")  # noqa: TRY004 - about the text, not the caller
    return cast("dict[str, Any]", found)
