"""Refusals in each service's own shape (reference, 1.4, 4, 7.1, 7.4). No I/O, no state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

JSON = "application/json"
HTML = "text/html; charset=UTF-8"


@dataclass(kw_only=True, eq=False)
class RefusalError(Exception):
    """Raised anywhere below the gate, which renders it."""

    status: int
    payload: Mapping[str, Any] | str | None
    """A mapping becomes JSON; a text is sent as ``content_type``; None: an empty body."""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    glance: bool = False
    """JSON only for those who ask for it, HTML for all others."""


def ims(code: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> RefusalError:
    return RefusalError(status=status, payload={"error": {"code": code, "message": message}})


def gateway(status: int, code: str, message: str) -> RefusalError:
    """Refuse as the API gateway does; the gate adds ``request_id``."""
    return RefusalError(status=status, payload={"error_msg": message, "error_code": code})


def iam(status: int, code: str, message: str) -> RefusalError:
    return RefusalError(status=status, payload={"error_msg": message, "error_code": code})


def keystone(status: int, message: str, title: str | None = None) -> RefusalError:
    error = {"code": int(status), "message": message, "title": title or HTTPStatus(status).phrase}
    return RefusalError(status=status, payload={"error": error})


def glance(status: int, message: str) -> RefusalError:
    phrase = HTTPStatus(status).phrase
    payload = {
        "message": f"{message}<br /><br />\n\n\n",
        "code": f"{int(status)} {phrase}",
        "title": phrase,
    }
    return RefusalError(status=status, payload=payload, glance=True)


def html(status: int, message: str) -> RefusalError:
    return RefusalError(status=status, payload=html_page(status, message), content_type=HTML)


def html_page(status: int, message: str) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    head = f"<head><title>{status} {phrase}</title></head>"
    return f"<html>{head}<body><h1>{status} {phrase}</h1>{message}</body></html>"


def xml(status: int, message: str) -> RefusalError:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<error><code>{status}</code><message>{message}</message></error>"
    )
    return RefusalError(status=status, payload=text, content_type="application/xml")


def injected(status: int, code: str | None, message: str) -> RefusalError:
    """Refuse in the shape of the service that ``code`` belongs to."""
    match (code or "").partition(".")[0]:
        case "IMG":
            return ims(code or "", message, status)
        case "APIGW" | "IAM":
            return gateway(status, code or "", message)
        case "":
            payload: dict[str, object] = {"code": status, "message": message, "title": "Fault"}
            return RefusalError(status=status, payload={"error": payload})
        case _:
            payload = {"code": code, "message": message}
            return RefusalError(status=status, payload={"error": payload})
