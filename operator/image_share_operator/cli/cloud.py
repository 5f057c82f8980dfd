"""Access to the cloud API for one command. Limits connections, logins and failed logins."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from image_share_operator.api.credentials import Identity
from image_share_operator.api.errors import CloudError, RetryableError
from image_share_operator.api.types import Cloud, Membership, OpenStack, Share
from image_share_operator.cli.exit_codes import Exit
from image_share_operator.cloud.coalescing.share_lists import LISTS
from image_share_operator.cloud.glance.client import GlanceClient
from image_share_operator.cloud.http.client import CloudHttpClient
from image_share_operator.cloud.http.throttle import Throttle
from image_share_operator.cloud.http.transport import HttpClients
from image_share_operator.cloud.iam.authorization import authorization_of
from image_share_operator.cloud.iam.login_guard import LoginGuards
from image_share_operator.cloud.iam.logins import IdTokens, Logins, no_id_tokens
from image_share_operator.cloud.iam.signing import SigningForm
from image_share_operator.cloud.ims import codec
from image_share_operator.cloud.ims.client import ImsClient
from image_share_operator.cloud.ims.listing import ListedImage
from image_share_operator.cloud.ims.pagination import (
    MAX_PAGES,
    PAGE_SIZE,
    MarkerGoneError,
    Page,
    PageLengths,
    TooManyPagesError,
    pages,
)
from image_share_operator.cloud.openstack_session import open_glance
from image_share_operator.settings import Settings

CONNECT_TIMEOUT = timedelta(seconds=5)
P = TypeVar("P", bound=Page)
ImageClient = ImsClient | GlanceClient
"""The client of an image service."""


@dataclass(slots=True)
class CloudConnection:
    """The image clients of a command, one per identity.

    Attributes:
        known: clients by identity, so that all files with the same identity use one token.
        insecure: whether a service catalog may name an image endpoint without TLS.
        logins: limits failed logins with the same credentials to two, across all files and
            projects, because IAM locks an account after failed logins.
    """

    http_client: CloudHttpClient
    logins: Logins
    insecure: bool = False
    known: dict[Identity, ImageClient] = field(default_factory=dict[Identity, ImageClient])

    def images(self, identity: Identity) -> ImageClient:
        """Return the image client of this identity."""
        if identity not in self.known:
            self.known[identity] = self._open(identity)
        return self.known[identity]

    def _open(self, identity: Identity) -> ImageClient:
        http_client = self.http_client.with_ca(identity.ca)
        if isinstance(identity.endpoints, OpenStack):
            return open_glance(
                identity, http_client, now, self.logins.guards, insecure=self.insecure
            )
        return ImsClient(
            identity=identity,
            http_client=http_client,
            authorization=authorization_of(identity, http_client, self.logins),
            throttle=Throttle(now),
        )


@asynccontextmanager
async def connect(
    settings: Settings, id_tokens: IdTokens = no_id_tokens
) -> AsyncGenerator[CloudConnection]:
    """Open HTTP clients for the cloud API, and close all connections on exit.

    Args:
        id_tokens: returns a token of a ServiceAccount, and when it ends.
    """
    clients = HttpClients.with_timeouts(
        connect=CONNECT_TIMEOUT,
        read=settings.request_timeout,
        proxy=settings.https_proxy,
        no_proxy=settings.no_proxy,
    )
    async with clients:
        yield CloudConnection(
            CloudHttpClient(
                client=clients.get(), timeout=settings.request_timeout, clients=clients.get
            ),
            Logins(
                now,
                LoginGuards(now),
                id_tokens,
                signing_form=SigningForm(settings.signing_form),
            ),
            settings.allow_insecure_endpoints,
        )


async def list_offers(client: ImageClient, membership: Membership) -> tuple[ListedImage, ...]:
    """Return all shares with this membership.

    Raises:
        CloudError: a page could not be read. An incomplete list is never returned.
    """
    found = await _list(client, membership, typed=True)
    if not found and membership is Membership.PENDING:
        # Some clouds return no pending shares for the documented filter.
        return await _list(client, membership, typed=False)
    return found


async def list_shares(client: ImageClient) -> tuple[Share, ...]:
    """Return all shares of the project, whatever their membership, as selectors see them.

    Raises:
        CloudError: a page could not be read. An incomplete list is never returned.
    """
    found: dict[str, Share] = {}
    # In the order of `share_lists`: an image that moves during the read is where it was last.
    for membership in LISTS:
        async for page in _read(_share_pages(client, membership)):
            for image in page.images:
                found[image] = codec.read_share(page.raw[image], image, membership)
    return tuple(found.values())


def _share_pages(
    client: ImageClient, membership: Membership
) -> Callable[[str | None], Awaitable[codec.SharePage]]:
    return lambda marker: client.shared(membership, marker=marker, limit=PAGE_SIZE, typed=False)


async def _list(
    client: ImageClient, membership: Membership, *, typed: bool
) -> tuple[ListedImage, ...]:
    found: dict[str, ListedImage] = {}
    async for page in _read(
        lambda marker: client.offers(membership, marker=marker, limit=PAGE_SIZE, typed=typed)
    ):
        for offer in page.offers:
            found.setdefault(offer.image, offer)
    return tuple(found.values())


async def _read(get_page: Callable[[str | None], Awaitable[P]]) -> AsyncIterator[P]:
    """Yield all pages of a list.

    Raises:
        CloudError: a page could not be read.
    """
    try:
        async for page in pages(get_page, PageLengths()):
            yield page
    except MarkerGoneError as exc:
        raise RetryableError(
            "the list of shares changed while it was read; run the command again"
        ) from exc
    except TooManyPagesError:
        raise RetryableError(f"the list of shares has more than {MAX_PAGES} pages") from None


def insecure(endpoints: Cloud) -> bool:
    """Whether credentials would be sent without TLS."""
    return not all(url.startswith("https://") for url in endpoints.urls.values())


def code_of(error: CloudError) -> Exit:
    """Return the exit code for this error."""
    return Exit.UNREACHABLE if isinstance(error, RetryableError) else Exit.NOT_FINE


def now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(UTC)
