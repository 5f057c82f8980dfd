"""When a resource keeps our finalizer and when the finalizer is removed.

The decisions are pure. `Orphans` reads the namespace: it finds resources whose deletion can never
finish, because their namespace is being deleted and their Secret is deleted already.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Decision, DeletionPolicy, Desired
from image_share_operator.controller.cloud_access import CredentialSource
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import CachedObject

log = logging.getLogger(__name__)

MOST = 1_000
"""Namespaces that are remembered."""


class FinalizerAction(Enum):
    """What to do about the finalizer before anything else."""

    NOTHING = auto()
    """It is as it should be: go on."""
    PUT_ON = auto()
    """The shares are to be rejected at the end: hold the resource before they are accepted."""
    TAKE_OFF = auto()
    """Nothing is to be done at the end (any more)."""
    GONE = auto()
    """The resource goes, and not by us."""


def hold(entry: CachedObject, desired: Desired | InvalidSpecError) -> FinalizerAction:
    """Compare the finalizer with what the spec asks for.

    A spec that can't be served changes nothing: it may be corrected, and the skip annotation
    always helps.
    """
    rejects = (
        entry.held
        if isinstance(desired, InvalidSpecError)
        else desired.deletion_policy is DeletionPolicy.REJECT
    )
    if entry.deleting:
        if not entry.held:
            return FinalizerAction.GONE
        return (
            FinalizerAction.NOTHING
            if rejects and not entry.skip_reject
            else FinalizerAction.TAKE_OFF
        )
    if rejects == entry.held:
        return FinalizerAction.NOTHING
    return FinalizerAction.PUT_ON if rejects else FinalizerAction.TAKE_OFF


def helpless(entry: CachedObject, desired: Desired | InvalidSpecError) -> bool:
    """Whether it is held, and nothing is done to reject its shares as things are.

    Each may go on when a person helps; in a namespace that goes, nobody will.
    """
    if not entry.deleting:
        return False
    if isinstance(desired, InvalidSpecError) or desired.suspend:
        return True
    return entry.known.secret_version == ""  # there was no Secret


def while_deleting(desired: Desired) -> Desired:
    """What a resource that is being deleted asks for: everything rejected, then it may go."""
    return replace(desired, decision=Decision.REJECT, vault_id=None, being_deleted=True)


class NamespaceReader(Protocol):
    """Kubernetes, as far as this room needs it."""

    async def namespace_terminating(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted. Raises `KubeError`."""
        ...


@dataclass(slots=True)
class _NamespaceSlot:
    """What is known of one namespace; the lock makes all who wait share one look."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    until: datetime | None = None
    goes: bool = False


@dataclass(slots=True, kw_only=True)
class StuckDeletions:
    """Looks at a namespace at most once each ``ttl``, for all resources in it.

    Attributes:
        ttl: also how often a resource should be looked at that may become one.
    """

    namespaces: NamespaceReader
    credentials: CredentialSource
    now: Callable[[], datetime]
    ttl: timedelta
    _slots: dict[str, _NamespaceSlot] = field(default_factory=dict[str, _NamespaceSlot])

    async def includes(self, entry: CachedObject, desired: Desired | InvalidSpecError) -> bool:
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
        slot = self._slots.setdefault(namespace, _NamespaceSlot())
        async with slot.lock:
            if slot.until is None or self.now() >= slot.until:
                slot.goes = await self.namespaces.namespace_terminating(namespace)
                slot.until = self.now() + self.ttl
        return slot.goes

    async def _has_secret(self, entry: CachedObject, desired: Desired) -> bool:
        try:
            await self.credentials.get(entry.key.namespace, desired.secret_name)
        except UnusableSecretError as exc:
            return exc.reason is not Reason.SECRET_NOT_FOUND
        return True
