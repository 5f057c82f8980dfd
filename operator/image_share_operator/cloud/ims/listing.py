"""Shares for the command line: one row with details for each image of a list. No I/O."""

from dataclasses import dataclass
from typing import cast

import httpx

from image_share_operator.cloud.http.payload import as_object, dig_line, parse_body
from image_share_operator.cloud.ims import codec


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImage:
    """An image that another project shares; each text is one line that is safe to print.

    Attributes:
        owner: ID of the project that shares it.
        created_at: the time as IMS reports it.
        whole: whether IMS reports a full-server image, which needs a vault.
    """

    image: str
    name: str | None
    owner: str | None
    status: str | None
    os: str | None
    min_disk_gb: int | None
    created_at: str | None
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedImagePage:
    """One page of a list with details; the rest is as in `codec.SharePage`."""

    offers: tuple[ListedImage, ...]
    rows: int
    marker: str | None
    has_next: bool


def read(response: httpx.Response, project_id: str, limit: int) -> ListedImagePage:
    """Read one page of a list with the same rows as `codec.read_shares`.

    Raises:
        RetryableError: the response is not a list of images.
    """
    page = codec.read_shares(response, project_id, limit)
    rows = cast("list[object]", parse_body(response).get("images") or [])
    by_id = {(dig_line(row, "id") or "").lower(): row for row in rows}
    return ListedImagePage(
        offers=tuple(_offer(image, by_id.get(image)) for image in page.images),
        rows=page.rows,
        marker=page.marker,
        has_next=page.has_next,
    )


def _offer(image: str, row: object) -> ListedImage:
    disk = (as_object(row) or {}).get("min_disk")
    details = codec.read_details(row)
    return ListedImage(
        image=image,
        name=details.name,
        owner=details.owner,
        status=dig_line(row, "status"),
        os=dig_line(row, "__os_version") or dig_line(row, "__os_type"),
        min_disk_gb=disk if isinstance(disk, int) else None,
        created_at=dig_line(row, "created_at"),
        whole=(dig_line(row, "__whole_image") or "").lower() == "true",
    )
