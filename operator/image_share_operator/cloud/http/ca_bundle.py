"""Private certificate authorities, told apart by their certificates alone. No I/O."""

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
    """What is trusted besides the system's authorities.

    Attributes:
        key: the same for the same certificates; made of ``data`` and of nothing else, so that
            nobody comes by connections that trust what another has brought.
        data: as `ssl.SSLContext.load_verify_locations` takes it.
    """

    key: str
    data: str | bytes


def bundle(ca: str) -> CaBundle:
    """Read certificates in PEM. Order, comments and line ends make no difference."""
    try:
        blocks = {
            base64.b64decode("".join(block.split()), validate=True)
            for block in _BLOCK.findall("\n".join(line.rstrip() for line in ca.splitlines()))
        }
    except ValueError:
        blocks = set[bytes]()
    data = b"".join(sorted(blocks)) or ca  # an old form of PEM, with headers: OpenSSL may know it
    made_of = data.encode() if isinstance(data, str) else data
    return CaBundle(key=hashlib.sha256(made_of).hexdigest(), data=data)
