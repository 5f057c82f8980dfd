"""Why the API server denies a request: cause and remedy as one text. No I/O.

Missing permissions, admission, quotas and namespaces that are being deleted all have HTTP status
403 and the reason Forbidden. Admission also denies with 400, 413 and 422. Only the message and the
causes of the Status object distinguish them.
"""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

MAX_TEXT_CHARS = 300
"""Of the message of a policy: as much as fits into a condition that stays readable."""
ALLOW_UPDATES = (
    "change this policy so that it allows updates that do not change the spec, as "
    "deploy/samples/allowed-endpoints.yaml does"
)
NOT_GRANTED = "grant it as the chart does"
"""How a text ends that is about a missing permission."""
TERMINATING = "NamespaceTerminating"
"""The reason of a cause, from the NamespaceLifecycle admission plugin of the API server."""

RBAC = re.compile(r'User "[^"]*" cannot \w+ (?:resource|path) ')
POLICY = re.compile(r"ValidatingAdmissionPolicy '[^']*' with binding '[^']*' denied request")
WEBHOOK = re.compile(r'admission webhook "[^"]*" denied the request')
QUOTA = re.compile(r"exceeded quota: [^,]+")


def explain(status: int, body: bytes | str | None) -> str | None:
    """Return cause and remedy; ``None`` when the response is not a denial.

    Args:
        status: the HTTP status.
        body: of the response. Only messages of the API server's own forms are quoted: other bodies
            may repeat what was sent.
    """
    response = _parse(body)
    message = _one_line(str(response.get("message", "")))
    for pattern in (POLICY, WEBHOOK):
        if found := pattern.search(message):
            return f"{_cut(message[found.start() :])}; {ALLOW_UPDATES}"
    if status != HTTPStatus.FORBIDDEN:
        return None
    if _is_terminating(response):
        return "the namespace is being deleted and takes no new objects"
    if found := QUOTA.search(message):
        return f"{found[0]}; increase this ResourceQuota or delete objects"
    if RBAC.search(message):
        return f"the operator's ServiceAccount lacks this permission; {NOT_GRANTED}"
    if response.get("kind") == "Status" and message:
        return f"{_cut(message)}; change what forbids this request"
    return (
        "the response is not from the API server's own checks; check the proxy or the "
        "authentication in front of the API server"
    )


def _is_terminating(response: Mapping[str, Any]) -> bool:
    details = response.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return any(
        isinstance(cause, dict) and cast("Mapping[str, Any]", cause).get("reason") == TERMINATING
        for cause in (causes if isinstance(causes, list) else ())
    )


def _parse(body: bytes | str | None) -> Mapping[str, Any]:
    try:
        response: object = json.loads(body or "")
    except (ValueError, RecursionError):
        return {}
    return cast("Mapping[str, Any]", response) if isinstance(response, dict) else {}


def _one_line(text: str) -> str:
    """Whitespace becomes one space; control characters are removed."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def _cut(text: str) -> str:
    text = text.rstrip(".:; ")
    return text if len(text) <= MAX_TEXT_CHARS else f"{text[:MAX_TEXT_CHARS]}…"
