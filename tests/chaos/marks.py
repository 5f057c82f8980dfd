"""Finds secrets in what must not show them. No I/O."""

import base64

from chaos.model import MARK

TOKEN_HEAD = "MIIAAAA"
"""How every token of the simulator begins: a cut token shows its head."""


def _encoded(text: str) -> set[str]:
    """The text inside any base64, whatever stands before it."""
    found = set()
    for before in range(3):
        raw = base64.b64encode(b"\0" * before + text.encode()).decode()
        # The characters at both ends depend on the neighbours.
        found.add(raw[(0, 2, 3)[before] : len(raw) - 4])
    return found


JWT_HEAD = "eyJhbGciOi"
"""How the token of a ServiceAccount begins."""
NEEDLES = (MARK, TOKEN_HEAD, JWT_HEAD, *sorted(_encoded(MARK)))


def shows_secret(text: str) -> bool:
    """Whether a marked password, a token of any kind, or a password in base64 is in the text."""
    return any(needle in text for needle in NEEDLES)
