"""Finds resources whose deletion can never be finished: their namespace goes, their Secret went."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Desired
from image_share_operator.controller.cloud_access import Credentials
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import Entry

log = logging.getLogger(__name__)

MOST = 1_000
"""Namespaces that are remembered."""


class Namespaces(Protocol):
    """Kubernetes, as far as this room needs it."""

    async def namespace_goes(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted. Raises `KubeError`."""
        ...


@dataclass(slots=True)
class _Slot:
    """What is known of one namespace; the lock makes all who wait share one look."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: datetime | None = None
    goes: bool = False


@dataclass(slots=True, kw_only=True)
class Orphans:
    """Looks at a namespace at most once each ``ttl``, for all resources in it.

    Attributes:
        ttl: also how often a resource should be looked at that may become one.
    """

    namespaces: Namespaces
    credentials: Credentials
    now: Callable[[], datetime]
    ttl: timedelta
    _slots: dict[str, _Slot] = field(default_factory=dict[str, _Slot])

    async def includes(self, entry: Entry, desired: Desired | InvalidSpecError) -> bool:
        """Whether nobody can ever finish the deletion of ``entry``; then it is logged.

        Raises:
            KubeError: the API server did not say.
        """
        if not await self._goes(entry.key.namespace):
            return False
        if not isinstance(desired, InvalidSpecError) and await self._has_secret(entry, desired):
            return False
        why = (
            "its spec can't be served"
            if isinstance(desired, InvalidSpecError)
            else "the Secret went first"
        )
        log.warning(
            "%s: let go without rejecting its shares: its namespace is being deleted, and %s",
            entry.key,
            why,
        )
        return True

    async def _goes(self, namespace: str) -> bool:
        if len(self._slots) >= MOST:
            self._slots.clear()  # cheaper than order: each costs one look again
        slot = self._slots.setdefault(namespace, _Slot())
        async with slot.lock:
            if slot.until is None or self.now() >= slot.until:
                slot.goes = await self.namespaces.namespace_goes(namespace)
                slot.until = self.now() + self.ttl
        return slot.goes

    async def _has_secret(self, entry: Entry, desired: Desired) -> bool:
        try:
            await self.credentials.get(entry.key.namespace, desired.secret_name)
        except UnusableSecretError as exc:
            return exc.reason is not Reason.SECRET_NOT_FOUND
        return True
