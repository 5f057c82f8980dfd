"""A refused request, parsed once from its response. No I/O."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from image_share_operator.cloud.http.error_codes import RefusalKind, kind_of
from image_share_operator.cloud.http.no_response import endpoint_of
from image_share_operator.cloud.http.payload import error_of, request_line

MAX_RETRY_AFTER = timedelta(hours=1)
"""The longest ``Retry-After`` that is obeyed: a wrong value must not stop a resource for days."""
_SIGNED_WITH = re.compile(r"(?:Access|Credential|Signature)=([^,/\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A response with any status but 2xx. The caller converts it to a `CloudError`.

    Attributes:
        endpoint: host and port.
        request: method and path.
        code: error code of the cloud (``IMG.0060``); ``None`` when there is none.
        text: of a JSON error body, one line. That of IAM is never shown: it may repeat parts of the
            request, which has the password.
        kind: what to do about it.
        retry_after: the wait of ``Retry-After``; ``None`` without a valid one.
        date: when the server refused it, by its own clock; ``None`` without a valid ``Date``.
        token_is_new: whether the refused token is from a login of this process moments ago, so that
            another login does not help.
    """

    endpoint: str
    request: str
    status: int
    code: str | None = None
    text: str | None = field(default=None, repr=False)
    kind: RefusalKind
    retry_after: timedelta | None = None
    date: datetime | None = None
    token_is_new: bool = False

    @property
    def is_from_api(self) -> bool:
        """Whether it has a JSON error body. Those of firewalls and proxies have an HTML page."""
        return self.code is not None or self.text is not None

    @property
    def cause(self) -> str:
        """Endpoint and status: in an outage, they are the same for all requests."""
        return f"{self.endpoint}: HTTP {self.status}"

    @property
    def cause_and_details(self) -> str:
        """The cause first, then code, text and request, in one line."""
        return f"{self.cause}{self._code_and_text} ({self.request})"

    def __str__(self) -> str:
        """Request, status, code and text in one line."""
        return f"{self.request}: HTTP {self.status}{self._code_and_text}"

    @property
    def _code_and_text(self) -> str:
        shown = " ".join(filter(None, (self.code, self.text))).rstrip(".")
        return f" {shown}" if shown else ""


def parse_refusal(response: httpx.Response) -> Refusal:
    """Parse a response with any status but 2xx."""
    code, text = error_of(response, _secrets_of(response.request))
    if "Openstack-Auth-Receipt" in response.headers:
        text = "multi-factor authentication"  # Keystone has no error body then
    return Refusal(
        endpoint=endpoint_of(response.request.url),
        request=request_line(response),
        status=response.status_code,
        code=code,
        text=text,
        kind=kind_of(response.status_code, code),
        retry_after=_retry_after(response.headers),
        date=_date(response.headers),
    )


def _secrets_of(request: httpx.Request) -> Iterator[str]:
    """The token, or the access key, the security token and the signature of a request."""
    for name in ("X-Auth-Token", "X-Security-Token"):
        if request.headers.get(name):
            yield request.headers[name]
    yield from _SIGNED_WITH.findall(request.headers.get("Authorization", ""))


def _retry_after(headers: httpx.Headers) -> timedelta | None:
    """The wait of ``Retry-After``, in seconds or as an HTTP date.

    A date is relative to the ``Date`` of the same response: the clocks may differ.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return min(timedelta(seconds=int(text[:9])), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return min(max(wait, timedelta()), MAX_RETRY_AFTER)


def _date(headers: httpx.Headers) -> datetime | None:
    """The time of the response, aware."""
    try:
        date = parsedate_to_datetime(headers["Date"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
