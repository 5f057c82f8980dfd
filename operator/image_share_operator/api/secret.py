"""From the bytes of a Secret to credentials; no other module reads them. No clock."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from image_share_operator.api import clouds_yaml
from image_share_operator.api.credentials import Credentials, PasswordCredentials, TokenCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret as read. ``version`` is its resourceVersion: it changes with its content."""

    version: str
    data: Mapping[str, bytes] = field(repr=False)


def parse(data: Mapping[str, bytes]) -> Credentials:
    """Read credentials from the keys of a Secret.

    Raises:
        ValueError: a key is missing or empty; the message names the key, never a value.
    """
    credentials = _of_keys(data)
    if isinstance(credentials, TokenCredentials) and not _fits_header(credentials.token):
        raise ValueError("key token has characters that are not allowed in a token")
    return credentials


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _of_keys(data: Mapping[str, bytes]) -> Credentials:
    if "token" in data:
        return TokenCredentials(token=_text(data, "token"))
    if "clouds.yaml" in data:
        cloud = _text(data, "cloud") if "cloud" in data else None
        return clouds_yaml.read(data["clouds.yaml"], cloud)
    if "userID" in data:
        return PasswordCredentials(user_id=_text(data, "userID"), password=_text(data, "password"))
    if "username" not in data and "password" not in data:
        raise ValueError(
            "needs the key token, or clouds.yaml, or username, password and domainName"
        )
    return PasswordCredentials(
        user_name=_text(data, "username"),
        password=_text(data, "password"),
        domain_name=_text(data, "domainName"),
    )


def parse_ca(data: Mapping[str, bytes]) -> str | None:
    """Read the certificates of a private authority; ``None`` when there are none.

    Raises:
        ValueError: the key has no certificates in PEM form.
    """
    if "ca.crt" not in data:
        return None
    # Comments may hold any character; certificates are ASCII, and the library accepts ASCII only.
    text = _text(data, "ca.crt").encode("ascii", "replace").decode()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise ValueError("key ca.crt has no certificates in PEM form") from None
    return text


def _text(data: Mapping[str, bytes], key: str) -> str:
    """The value without the line end that editors add."""
    if key not in data:
        raise ValueError(f"key {key} is missing")
    try:
        text = data[key].decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"key {key} is not UTF-8 text") from None
    if not text:
        raise ValueError(f"key {key} is empty")
    return text
