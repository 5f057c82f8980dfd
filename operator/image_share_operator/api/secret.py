"""From the bytes of a Secret to credentials; no other module reads them. No clock."""

import base64
import binascii
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from image_share_operator.api import bounded_yaml, clouds_yaml, placeholders
from image_share_operator.api.clouds_yaml import MAX_TOKEN_CHARS, MAX_VALUE_CHARS
from image_share_operator.api.credentials import (
    AccessKeyCredentials,
    ApplicationCredentials,
    Credentials,
    PasswordCredentials,
    access_key_credentials,
    token_credentials,
)

MAX_CA_BYTES: Final = 256 * 1024
"""Limit of ``ca.crt``. The largest common one, the bundle of Mozilla, has 220 KB."""
MAX_CERTIFICATES: Final = 200
"""Limit of the certificates in ``ca.crt``. The bundle of Mozilla has about 145."""

_FAMILIES: Final = {
    "token": "token",
    "clouds.yaml": "clouds.yaml",
    "userID": "userID and password",
    "username": "username, password and domainName or domainID",
    "accessKey": "accessKey and secretKey",
    "applicationCredentialID": "applicationCredentialID and applicationCredentialSecret",
}
"""The kinds of credentials in a Secret: the key that identifies each, and all of its keys."""
_PARTS: Final = {
    "password": {"userID", "username"},
    "secretKey": {"accessKey"},
    "securityToken": {"accessKey", "secretKey"},
    "applicationCredentialSecret": {"applicationCredentialID"},
}
"""Keys that need one of these others. Without it, they count as a family of their own."""
_NEEDED: Final = "needs the keys of one of these: " + "; ".join(_FAMILIES.values())

_SIMILAR: Final = {
    "username": {"user", "name", "osusername"},
    "password": {"pass", "passwd", "ospassword"},
    "domainName": {"domain", "userdomainname", "account", "osuserdomainname", "osdomainname"},
    "domainID": {"userdomainid", "osuserdomainid"},
    "userID": {"osuserid"},
    "token": {"authtoken", "ostoken"},
    "clouds.yaml": {"cloudsyml", "clouds", "cloudsyaml"},
    "accessKey": {"ak", "accesskeyid", "awsaccesskeyid", "osaccesskey"},
    "secretKey": {"sk", "secretaccesskey", "awssecretaccesskey", "ossecretkey"},
    "applicationCredentialID": {"osapplicationcredentialid"},
    "applicationCredentialSecret": {"osapplicationcredentialsecret"},
    "securityToken": {"sessiontoken", "awssessiontoken", "ossecuritytoken"},
}
"""Keys that people write instead, in lower case without separators. A key of the Secret is shown
only when it is one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A Secret as read. ``version`` is its resourceVersion: it changes with its content."""

    version: str
    data: Mapping[str, bytes] = field(repr=False)


def parse(data: Mapping[str, bytes]) -> Credentials:
    """Read credentials from the keys of a Secret.

    Keys that are no credentials are ignored: tools add some of their own.

    Raises:
        ValueError: a key is missing, empty or unusable, or there are keys of several ways to log
            in. The message names the key, never a value.
    """
    found = [key for key in _FAMILIES if key in data]
    for part, others in _PARTS.items():
        if part in data and others.isdisjoint(found):
            found.append(part)
    if len(found) > 1:
        raise ValueError(f"has several credentials, keys {_listed(found)}; keep those of one")
    match found:
        case ["token"]:
            return token_credentials(_text(data, "token", MAX_TOKEN_CHARS), "key token")
        case ["clouds.yaml"]:
            cloud = _text(data, "cloud") if "cloud" in data else None
            return clouds_yaml.read(data["clouds.yaml"], cloud)
        case ["userID"]:
            return PasswordCredentials(
                user_id=_text(data, "userID"), password=_text(data, "password")
            )
        case ["username" | "password"]:
            return _named_user(data)
        case ["applicationCredentialID" | "applicationCredentialSecret"]:
            return ApplicationCredentials(
                id=_text(data, "applicationCredentialID"),
                secret=_text(data, "applicationCredentialSecret"),
            )
        case ["accessKey" | "secretKey" | "securityToken"]:
            return _access_key(data)
        case _:
            raise ValueError(f"{_NEEDED}{_similar(data)}")


def _named_user(data: Mapping[str, bytes]) -> PasswordCredentials:
    user_name, password = _text(data, "username"), _text(data, "password")
    if "domainName" in data or "domainID" not in data:
        return PasswordCredentials(
            user_name=user_name, password=password, domain_name=_text(data, "domainName")
        )
    return PasswordCredentials(
        user_name=user_name, password=password, domain_id=_text(data, "domainID")
    )


def _access_key(data: Mapping[str, bytes]) -> AccessKeyCredentials:
    access_key, secret_key = _text(data, "accessKey"), _text(data, "secretKey")
    token = None
    # A permanent access key has no token. A temporary one is not accepted without it.
    if "securityToken" in data or _similar(data, "securityToken"):
        token = _text(data, "securityToken", MAX_TOKEN_CHARS)
    return access_key_credentials(
        access_key,
        secret_key,
        token,
        names=("key accessKey", "key secretKey", "key securityToken"),
    )


def _listed(keys: list[str]) -> str:
    return f"{', '.join(keys[:-1])} and {keys[-1]}"


def _similar(data: Mapping[str, bytes], missing: str | None = None) -> str:
    """A hint for a key that is written in another way; empty when there is none."""
    renames: list[str] = []
    for key in sorted(data):
        bare = re.sub(r"[._-]", "", key).lower()
        renames += [
            f"{key} to {known}"
            for known in (_SIMILAR if missing is None else (missing,))
            if key != known and (bare in _SIMILAR.get(known, ()) or bare == known.lower())
        ]
    return f"; rename the key {', '.join(renames[:3])}" if renames else ""


def parse_ca(data: Mapping[str, bytes]) -> str | None:
    """Read the certificates of a private authority; ``None`` when there are none.

    Returns:
        The certificates in PEM, in their order, without the text around them.

    Raises:
        ValueError: the key has no certificates in PEM form, or one of them is not readable.
    """
    if "ca.crt" not in data:
        return None
    return read_certificates(data["ca.crt"], "key ca.crt")


def read_certificates(data: bytes, name: str) -> str:
    """Read certificates in PEM.

    Args:
        name: of the text, for messages.

    Raises:
        ValueError: there are none, or one of them is not readable; the message has its number.
    """
    if len(data) > MAX_CA_BYTES:
        raise ValueError(f"{name} is larger than {MAX_CA_BYTES >> 10} KiB")
    bounded_yaml.refuse_utf16(data, name)
    # Comments may have any encoding; PEM is ASCII. So other bytes, and a byte order mark, are cut.
    text = data.decode("ascii", "ignore")
    placeholders.check(text, name)
    first, *blocks = _BEGIN.split("\n".join(line.strip() for line in text.splitlines()))
    del first
    if not blocks:
        raise ValueError(f"{name} has no certificates in PEM form")
    if len(blocks) > MAX_CERTIFICATES:
        raise ValueError(f"{name} has more than {MAX_CERTIFICATES} certificates")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return "".join(
        _certificate(context, block, f"{name}: certificate {number} of {len(blocks)}")
        for number, block in enumerate(blocks, start=1)
    )


# At the start of a line, or directly after the end of another one: files that were concatenated
# without a newline.
_BEGIN: Final = re.compile(
    r"(?:^|(?<=-----))-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----", re.MULTILINE
)
_END: Final = re.compile(r"-----END (?:X509 |TRUSTED )?CERTIFICATE-----")


def _certificate(context: ssl.SSLContext, block: str, name: str) -> str:
    end = _END.search(block)
    if end is None:
        raise ValueError(f"{name} has no end line")
    body = block[: end.start()]
    if ":" in body:  # an old form of PEM has headers, and an empty line after them
        body = body.partition("\n\n")[2]
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
        context.load_verify_locations(cadata=der)
    except (binascii.Error, ssl.SSLError, ValueError):
        raise ValueError(f"{name} can't be read; write it in PEM form") from None
    return ssl.DER_cert_to_PEM_cert(der)


def _text(data: Mapping[str, bytes], key: str, limit: int = MAX_VALUE_CHARS) -> str:
    """The value without a byte order mark and the line end that editors add."""
    if key not in data:
        raise ValueError(f"key {key} is missing{_similar(data, key)}")
    value = data[key]
    if len(value) > 4 * limit:  # UTF-8 has up to four bytes for a character
        raise ValueError(f"key {key} is longer than {limit} characters")
    text = bounded_yaml.decode(value, f"key {key}").rstrip("\r\n")
    if not text:
        raise ValueError(f"key {key} is empty")
    if len(text) > limit:
        raise ValueError(f"key {key} is longer than {limit} characters")
    placeholders.check(text, f"key {key}")
    return text
