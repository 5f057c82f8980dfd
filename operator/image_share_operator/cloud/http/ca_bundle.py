"""Private certificate authorities, identified by their certificates alone. No I/O."""

import base64
import hashlib
import re
from dataclasses import dataclass

_BLOCK = re.compile(
    r"^-----BEGIN (?:X509 )?CERTIFICATE-----$(.*?)^-----END (?:X509 )?CERTIFICATE-----$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class CaBundle:
    """Certificates that are trusted in addition to those of the system.

    Attributes:
        key: equal for equal certificates. It depends on ``data`` only, so that no tenant can use
            connections that trust the certificates of another tenant.
        data: in the form that `ssl.SSLContext.load_verify_locations` takes.
    """

    key: str
    data: str | bytes


def read_bundle(ca: str) -> CaBundle:
    """Read certificates in PEM. Order, comments and line ends make no difference."""
    try:
        blocks = {
            base64.b64decode("".join(block.split()), validate=True)
            for block in _BLOCK.findall("\n".join(line.rstrip() for line in ca.splitlines()))
        }
    except ValueError:
        blocks = set[bytes]()
    # An old form of PEM has headers: it is passed to OpenSSL as it is, which may read it.
    data = b"".join(sorted(blocks)) or ca
    hashed = data.encode() if isinstance(data, str) else data
    return CaBundle(key=hashlib.sha256(hashed).hexdigest(), data=data)
