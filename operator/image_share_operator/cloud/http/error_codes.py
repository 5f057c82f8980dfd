"""Error codes of IMS, IAM and the API gateway, grouped by what to do.

The code decides before the HTTP status: the cloud throttles with status 400, and returns 400 for an
expired token.

Source: IMS API reference, "Error Codes"; IAM API reference, "Error Codes"; API gateway,
"Error Codes". The grouping is our own.
"""

from enum import Enum, auto
from http import HTTPStatus


class RefusalKind(Enum):
    """What the caller does about a refused request."""

    TOKEN = auto()
    """The token or the signature is refused: log in again, once."""
    MISMATCH = auto()
    """The token is not for the project: the token is expired or the project is wrong."""
    THROTTLED = auto()
    """Send fewer requests; retry later."""
    RETRY = auto()
    """Retry later."""
    IMAGES = auto()
    """An image of the request is refused."""
    DENIED = auto()
    """The user lacks a permission."""
    LOCKED = auto()
    """The account is locked after failed logins."""
    TOO_LARGE = auto()
    """Send a smaller batch."""
    INVALID = auto()
    """Change the request: the spec is wrong."""


def _img(*numbers: int) -> frozenset[str]:
    return frozenset(f"IMG.{number:04}" for number in numbers)


def _gateway(*numbers: int) -> frozenset[str]:
    return frozenset(f"APIGW.{number:04}" for number in numbers)


def _iam(*numbers: int) -> frozenset[str]:
    return frozenset(f"IAM.{number:04}" for number in numbers)


_ACCESS_KEY = _iam(1104, 1105, 1106, 1107, 1108)
"""The access key is blocked, expired, unknown, inactive, or temporary and expired."""

_KINDS: tuple[tuple[RefusalKind, frozenset[str]], ...] = (
    (RefusalKind.TOKEN, _img(87) | _gateway(301, 307) | _iam(1, 66, 67) | _ACCESS_KEY),
    (RefusalKind.MISMATCH, _img(30)),
    (RefusalKind.THROTTLED, _img(60, 187) | _gateway(308) | _iam(12)),
    (
        RefusalKind.RETRY,
        _img(14, 16, 18, 23, 35, 36, 37, 46, 53, 61, 64, 65, 112, 113, 114, 154, 155, 156, 179, 188)
        | _gateway(103, 601, 605, 606, 608, 609, 610, 611, 612, 613, 705)
        | _iam(6, 20),
    ),
    (
        RefusalKind.IMAGES,
        _img(27, 28, 31, 47, 66, 83, 84, 86, 89, 92, 95, 97, 98, 99, 100, 101, 102, 103, 105, 106)
        | _img(121, 135, 144, 190, 196, 197, 198),
    ),
    (
        RefusalKind.DENIED,
        _img(25, 26, 41, 161, 165, 238, 239, 240, 241, 242)
        | _gateway(302, 303, 304, 305, 306, 310, 311, 401, 402, 404, 801, 802)
        | _iam(2, 3, 64, 80, 81, 82, 83),
    ),
    (RefusalKind.LOCKED, _iam(61)),
    (
        RefusalKind.INVALID,
        _img(1, 7, 15, 17, 67, 76, 88, 104, 108, 145, 177, 178)
        | _img(180, 182, 183, 184, 185, 186, 189, 193)
        | _gateway(101, 104, 105, 106, 602, 607)
        | _iam(4),
    ),
)
_BY_CODE = {code: kind for kind, codes in _KINDS for code in codes}

_BY_STATUS = {
    HTTPStatus.UNAUTHORIZED: RefusalKind.TOKEN,
    HTTPStatus.FORBIDDEN: RefusalKind.DENIED,
    HTTPStatus.NOT_FOUND: RefusalKind.IMAGES,
    HTTPStatus.REQUEST_TIMEOUT: RefusalKind.RETRY,
    HTTPStatus.CONFLICT: RefusalKind.RETRY,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RefusalKind.TOO_LARGE,
    HTTPStatus.REQUEST_URI_TOO_LONG: RefusalKind.TOO_LARGE,
    494: RefusalKind.INVALID,  # nginx: request header too large; the token is in a header
    HTTPStatus.TOO_MANY_REQUESTS: RefusalKind.THROTTLED,
}


_REQUEST_CODES = _img(17, 67, 104, 145) | _gateway(101, 104, 105, 106, 602, 607) | _iam(4)
"""Codes for a wrong path or project: other images would be refused, too."""
_IMAGE_STATUSES = frozenset(
    (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    )
)
"""Statuses that may be about an image. Any other one is about the request."""
_DENIED_FOR_AN_IMAGE = _img(161, 165)
"""No permission for images of a vendor or of a backup service: other images may be accepted."""


def kind_of_batch(status: int, code: str | None) -> RefusalKind:
    """The kind of a batch that IMS refused, or of a failed job: an image may be the cause.

    The API reference does not say which codes are about an image. So every code that `kind_of`
    calls invalid is, known or not, except those about the path or the project.
    """
    kind = kind_of(status, code)
    if code in _DENIED_FOR_AN_IMAGE:
        return RefusalKind.IMAGES
    about_images = status in _IMAGE_STATUSES and code not in _REQUEST_CODES
    return RefusalKind.IMAGES if kind is RefusalKind.INVALID and about_images else kind


def kind_of(status: int, code: str | None) -> RefusalKind:
    """The kind of a refused request; ``status`` decides when the code is missing or unknown."""
    known = None if code is None else _BY_CODE.get(code)
    if known is not None:
        return known
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return RefusalKind.RETRY
    return _BY_STATUS.get(status, RefusalKind.INVALID)
