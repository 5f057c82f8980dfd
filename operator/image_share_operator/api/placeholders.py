"""Recognizes values of a Secret that a tool should have replaced or decrypted. No I/O.

Such a value must not be used as a login: IAM locks an account after a few wrong ones. Only forms
that are certainly not credentials are recognized. So a value that merely looks like base64 is not.
"""

import base64
import binascii
import re
from typing import Final

_FORMS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (what, re.compile(form, re.DOTALL))
    for what, form in (
        ("is still encrypted (SOPS); decrypt it before it is applied", r"ENC\[AES256_GCM,.*\]"),
        (
            "is still encrypted (Ansible Vault); decrypt it before it is applied",
            r"\$ANSIBLE_VAULT;.*",
        ),
        (
            "is still encrypted (age or PGP); decrypt it before it is applied",
            r"(-----BEGIN (AGE ENCRYPTED FILE|PGP MESSAGE)-----|age-encryption\.org/v\d).*",
        ),
        (
            # 512 bytes of an RSA key with their length in front, then the ciphertext.
            "is still encrypted (Sealed Secrets); apply it as a SealedSecret",
            r"Ag[A-D][A-Za-z0-9+/]{680,}={0,2}",
        ),
        (
            "is a placeholder of a Vault plugin (<path:...>); render the manifest with the plugin",
            r"<path:[^>]*>",
        ),
        (
            "is a reference of helm-secrets or vals (ref+...); render the manifest with it",
            r"(secret)?ref\+[a-z0-9]+://.*",
        ),
        (
            "is a reference to a Vault path (vault:...); the operator does not resolve it",
            r"(>>)?vault:(?=[^\s#]*/)[^\s#]+#.+",
        ),
        (
            "is a reference to 1Password (op://...); the operator does not resolve it",
            r"op://[^/]+/[^/]+/.+",
        ),
        (
            "is a placeholder (${...}); substitute the variable before it is applied",
            r"\$\{[A-Za-z_][^{}]*\}",
        ),
        (
            "is a placeholder ($(...)); substitute the variable before it is applied",
            r"\$\([A-Za-z_][A-Za-z0-9_.-]*\)",
        ),
        (
            "is a template ({{...}}); render it before it is applied",
            r"\{\{.*\}\}",
        ),
    )
)

_DECODED: Final = re.compile(
    r"ENC\[AES256_GCM,.*\]|-----BEGIN .*"
    r"|(MII|gAAAA)[A-Za-z0-9+/_-]{60,}={0,2}"
    r"|(.*\n)?clouds:\s*\n.*",
    re.DOTALL,
)
"""What was encoded in base64 twice, certainly: SOPS, PEM, a token, a clouds.yaml."""

_MAX_DECODED_CHARS: Final = 128 * 1024


def fault_of(text: str) -> str | None:
    """Say why this text can't be a credential; ``None`` when it can be one.

    Returns:
        The end of a sentence that starts with the name of the value; it has no part of the value.
    """
    stripped = text.strip()
    for what, form in _FORMS:
        if form.fullmatch(stripped):
            return what
    if _is_encoded_twice(stripped):
        return "is encoded in base64 twice; encode it once, or use stringData"
    return None


def check(text: str, name: str) -> None:
    """Refuse a value that a tool should have replaced.

    Raises:
        ValueError: the message names the value by ``name`` and has no part of it.
    """
    fault = fault_of(text)
    if fault is not None:
        raise ValueError(f"{name} {fault}")


def _is_encoded_twice(text: str) -> bool:
    if len(text) > _MAX_DECODED_CHARS:
        return False
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return False
    return _DECODED.fullmatch(decoded.strip()) is not None
