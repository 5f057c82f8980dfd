"""Verifies signed requests, ``SDK-HMAC-SHA256`` (reference, 1.7). Pure: no I/O, no clock.

It shares no code with any client.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote_to_bytes

ALGORITHM = "SDK-HMAC-SHA256"
MAX_SKEW = timedelta(minutes=15)
UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
HEADER = re.compile(
    rf"{ALGORITHM} (?:Access=(?P<plain>[^,/ ]+)|Credential=(?P<scoped>[^,/ ]+)/(?P<scope>[^, ]*)), "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
STAMP = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the gateway received, as it was on the wire. ``headers``: names in lower case."""

    method: str
    raw_path: str
    """With the query."""
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the header says: who signed, in which form, which headers, when."""

    access_key: str
    form: str
    """plain or scoped."""
    scope: str
    """Date, region, service and end; empty in the plain form."""
    headers: tuple[str, ...]
    signature: str
    stamp: str

    @property
    def signed_at(self) -> datetime:
        return datetime.strptime(self.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def is_signed(headers: Mapping[str, str]) -> bool:
    return headers.get("authorization", "").startswith(ALGORITHM)


def claim_of(received: Received) -> Claim | None:
    """Read the header; None: it is not one, or host and date are not signed."""
    found = HEADER.fullmatch(received.headers.get("authorization", ""))
    stamp = received.headers.get("x-sdk-date", "")
    if found is None or not STAMP.fullmatch(stamp):
        return None
    names = tuple(found["headers"].split(";"))
    if not {"host", "x-sdk-date"} <= set(names) or list(names) != sorted(set(names)):
        return None
    if found["scope"] is not None and not re.fullmatch(
        rf"{stamp[:8]}/[a-z0-9-]*/[a-z0-9-]*/sdk_request", found["scope"]
    ):
        return None
    return Claim(
        access_key=found["plain"] or found["scoped"],
        form="plain" if found["plain"] else "scoped",
        scope=found["scope"] or "",
        headers=names,
        signature=found["signature"],
        stamp=stamp,
    )


def fits(received: Received, claim: Claim, secret_key: str) -> bool:
    """Say whether the signature is the one that this secret key gives."""
    lines = [ALGORITHM, claim.stamp, hashlib.sha256(canonical(received, claim)).hexdigest()]
    key = secret_key.encode()
    if claim.form == "scoped":
        lines.insert(2, claim.scope)
        key = b"SDK" + key
        for part in claim.scope.split("/"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    expected = hmac.new(key, "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, claim.signature)


def canonical(received: Received, claim: Claim) -> bytes:
    path, _, query = received.raw_path.partition("?")
    folded = "/".join(_encode(unquote_to_bytes(part)) for part in path.split("/"))
    pairs = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        pairs.append((_decoded_query(name), _decoded_query(value)))
    text = "\n".join(
        [
            received.method,
            folded if folded.endswith("/") else folded + "/",
            "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(pairs)),
            *(f"{name}:{_folded(received.headers.get(name, ''))}" for name in claim.headers),
            "",
            ";".join(claim.headers),
            hashlib.sha256(received.body).hexdigest(),
        ]
    )
    return text.encode()


def _folded(value: str) -> str:
    return re.sub(r"\s+", " ", value.strip())


def _decoded_query(part: str) -> bytes:
    return unquote_to_bytes(part.replace("+", " "))


def _encode(raw: bytes) -> str:
    return "".join(chr(byte) if byte in UNRESERVED else f"%{byte:02X}" for byte in raw)
