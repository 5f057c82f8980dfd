"""The reads of one identity, the same for each kind of cloud: many reconciles share one read."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from itertools import chain
from typing import Protocol

from image_share_operator.api.errors import CloudError
from image_share_operator.api.types import ImageDetails, Membership, Share
from image_share_operator.cloud.coalescing.membership_lookup import (
    MembershipLookup,
    MembershipSource,
)
from image_share_operator.cloud.coalescing.share_lists import ShareLists, ShareSource


class ImageSource(ShareSource, MembershipSource, Protocol):
    """The requests that both kinds of reads need."""


class SharedReads:
    """The part of a session that reads memberships and shares."""

    def __init__(self, source: ImageSource) -> None:
        self._memberships = MembershipLookup(source)
        self._share_lists = ShareLists(source)

    async def members(
        self, images: tuple[str, ...], max_age: timedelta
    ) -> Mapping[str, Membership | CloudError]:
        """Read the memberships of all ``images``, not older than ``max_age``.

        An image that could not be read has its error; an error that all share is raised.
        """
        return await self._memberships.read(images, max_age)

    async def list_shares(self, owners: tuple[str, ...], max_age: timedelta) -> tuple[Share, ...]:
        """List all images that the ``owners`` share, not older than ``max_age``.

        Raises:
            CloudError: a list could not be read to its end.
        """
        lists = await asyncio.gather(*(self._share_lists.read(one, max_age) for one in owners))
        return tuple(chain.from_iterable(lists))

    def details(self, images: tuple[str, ...]) -> Mapping[str, ImageDetails]:
        """Names and owners of images, where the lists of this process had them."""
        return self._memberships.details(images)
