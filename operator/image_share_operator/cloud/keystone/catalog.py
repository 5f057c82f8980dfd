"""Chooses the image endpoint from the service catalog of a token. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from image_share_operator.api import fields
from image_share_operator.api.errors import TerminalError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import OpenStack
from image_share_operator.cloud.http.payload import dig, dig_line, dig_text

IMAGE = "image"
"""The type of the image service in a catalog."""
SHOWN = 4
"""Endpoints that a message shows."""
MAX_URL_CHARS = 1024
"""Longer URLs are left out: the API server limits those of a spec to less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of the image service; `region` and `interface` are safe to print."""

    region: str
    interface: str
    url: str

    def __str__(self) -> str:
        """For messages."""
        return f"region {self.region}, interface {self.interface}"


def read_image_endpoints(catalog: object) -> tuple[Endpoint, ...]:
    """Read the endpoints of all image services; rows that are not valid are left out.

    Args:
        catalog: ``token.catalog`` of a login.
    """
    services = cast("list[object]", catalog) if isinstance(catalog, list) else []
    rows: list[object] = []
    for service in services:
        endpoints = dig(service, "endpoints")
        if dig_text(service, "type") == IMAGE and isinstance(endpoints, list):
            rows += cast("list[object]", endpoints)
    return tuple(_read(rows))


def _read(rows: Iterable[object]) -> Iterable[Endpoint]:
    for row in rows:
        url = dig_text(row, "url")
        if url is not None and len(url) <= MAX_URL_CHARS:
            yield Endpoint(
                region=dig_line(row, "region_id") or dig_line(row, "region") or "",
                interface=dig_line(row, "interface") or "",
                url=fields.without_version(url),
            )


def choose(endpoints: tuple[Endpoint, ...], wanted: OpenStack) -> str:
    """Return the URL of the image endpoint with the region and the interface of the spec.

    Raises:
        TerminalError: there is none, or more than one.
    """
    fitting = [
        one
        for one in endpoints
        if one.interface == wanted.interface and wanted.region in (None, one.region)
    ]
    urls = sorted({one.url for one in fitting})
    if len(urls) == 1:
        return urls[0]
    region = "" if wanted.region is None else f"region {wanted.region} and "
    searched = f"{region}interface {wanted.interface}"
    if not urls:
        raise _unusable(f"no image endpoint for {searched}{_there_are(endpoints)}")
    regions = sorted({one.region for one in fitting})
    what = f"{len(urls)} image endpoints for {searched}"
    if wanted.region is None and len(regions) > 1:
        raise _unusable(f"{what}, in the regions {', '.join(regions[:SHOWN])}")
    raise _unusable(what)


def _there_are(endpoints: tuple[Endpoint, ...]) -> str:
    if not endpoints:
        return ", and none at all for images"
    shown = "; ".join(dict.fromkeys(map(str, endpoints[:SHOWN])))
    return f". It has {shown}"


def _unusable(what: str) -> TerminalError:
    return TerminalError(
        f"the service catalog of Keystone has {what}. Correct spec.openstack.region and "
        "spec.openstack.interface, or set spec.openstack.imageEndpoint",
        reason=Reason.INVALID_REQUEST,
    )
