"""Signs requests with an access key (``SDK-HMAC-SHA256``). No I/O, no clock.

A signed request needs no token. The cloud computes the same signature from the request that it
receives, so the request must not change after `sign`.

Two forms are in use. They differ in the key of the signature and in the text that is signed:

    SCOPED   The key is derived from the date, the region and the service. The headers that name
             the project and the security token are not signed. The Go SDK of the Open Telekom
             Cloud does so, with an empty region and an empty service.
    PLAIN    The key is the secret key itself. All these headers are signed. The public
             documentation of Huawei Cloud describes this form.

Source: API gateway, "AK/SK Signing and Authentication"; gophertelekomcloud, ``signer_helper.go``.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote, unquote, unquote_plus

import httpx

from image_share_operator.api.credentials import AccessKeyCredentials

ALGORITHM = "SDK-HMAC-SHA256"
TERMINATOR = "sdk_request"
"""The last part of the scope, and the last step of the derived key."""
UNRESERVED = "._~-"
"""Characters that are not percent-encoded, beside letters and digits."""
_UNRESERVED_ONLY = re.compile(rf"[0-9A-Za-z{UNRESERVED}]*", re.ASCII).fullmatch


class SigningForm(StrEnum):
    """Which key and which text are used."""

    SCOPED = "scoped"
    PLAIN = "plain"


def sign(
    request: httpx.Request,
    key: AccessKeyCredentials,
    *,
    scope: Mapping[str, str],
    now: datetime,
    form: SigningForm,
) -> None:
    """Add the headers of a signed request. A request that is signed again gets new ones.

    Args:
        request: complete, with its body. A POST must have a body: for one without, the forms
            differ.
        scope: headers that name what the request is for, such as ``X-Project-Id``.
        now: aware UTC time. The cloud refuses a time that differs by more than 15 minutes.
    """
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    extra = dict(scope)
    if key.security_token is not None:
        extra["X-Security-Token"] = key.security_token
    signed = {"host": request.headers["Host"], "x-sdk-date": stamp}
    if "Content-Type" in request.headers:
        signed["content-type"] = request.headers["Content-Type"]
    if form is SigningForm.PLAIN:
        signed.update((name.lower(), value) for name, value in extra.items())
    digest = _digest(_canonical_request(request, signed).encode())
    access, signature = _signature(key, stamp, digest, form)
    names = ";".join(sorted(signed))
    extra["X-Sdk-Date"] = stamp
    extra["Authorization"] = f"{ALGORITHM} {access}, SignedHeaders={names}, Signature={signature}"
    for name, value in extra.items():
        request.headers[name] = value


def _signature(
    key: AccessKeyCredentials, stamp: str, digest: str, form: SigningForm
) -> tuple[str, str]:
    """The part of the header that names the access key, and the signature."""
    if form is SigningForm.PLAIN:
        text = f"{ALGORITHM}\n{stamp}\n{digest}"
        return f"Access={key.access_key}", _hmac(key.secret_key.encode(), text).hex()
    date = stamp[:8]
    scope = f"{date}///{TERMINATOR}"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}"
    derived = f"SDK{key.secret_key}".encode()
    for step in (date, "", "", TERMINATOR):  # the region and the service are empty
        derived = _hmac(derived, step)
    return f"Credential={key.access_key}/{scope}", _hmac(derived, text).hex()


def _canonical_request(request: httpx.Request, signed: Mapping[str, str]) -> str:
    """The text that both sides compute from a request."""
    path, _, query = request.url.raw_path.decode("ascii").partition("?")
    names = sorted(signed)
    lines = [f"{name}:{' '.join(signed[name].split())}\n" for name in names]
    return "\n".join(
        (
            request.method,
            _canonical_path(path),
            _canonical_query(query),
            "".join(lines),
            ";".join(names),
            _digest(request.content),
        )
    )


def _canonical_path(path: str) -> str:
    """The path with a slash at its end; each segment is encoded once."""
    encoded = "/".join(_encoded(segment, unquote) for segment in path.split("/"))
    return encoded if encoded.endswith("/") else f"{encoded}/"


def _canonical_query(query: str) -> str:
    """The pairs in the order of their names; each part is encoded once."""
    if not query:
        return ""
    pairs = [pair.partition("=") for pair in query.split("&")]
    encoded = [
        (_encoded(name, unquote_plus), _encoded(value, unquote_plus)) for name, _, value in pairs
    ]
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _encoded(text: str, decode: Callable[[str], str]) -> str:
    """A part of a URL, with each character encoded once that is not in `UNRESERVED`."""
    return text if _UNRESERVED_ONLY(text) else quote(decode(text), safe=UNRESERVED)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
