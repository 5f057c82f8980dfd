"""When a resource keeps our finalizer and when the finalizer is removed.

The decisions are pure. `StuckDeletions` reads the namespace: it finds resources whose deletion can
never finish, because their namespace is being deleted and their credentials are deleted already.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Protocol

from image_share_operator.api.errors import InvalidSpecError
from image_share_operator.api.types import DeletionPolicy, Desired
from image_share_operator.controller.cloud_access import CredentialSource
from image_share_operator.controller.credential_cache import UnusableSecretError
from image_share_operator.controller.object_store import CachedObject
from image_share_operator.flowcontrol.single_flight import SingleFlightCache

log = logging.getLogger(__name__)


class FinalizerAction(Enum):
    """What to do with the finalizer before anything else."""

    NOTHING = auto()
    """The finalizer is as it should be."""
    ADD = auto()
    """The shares are rejected at deletion: add it before they are accepted."""
    REMOVE = auto()
    """Nothing is left to do at deletion."""
    DELETED = auto()
    """The resource is being deleted and does not have our finalizer."""


def action(entry: CachedObject, desired: Desired | InvalidSpecError) -> FinalizerAction:
    """Compare the finalizer with what the spec needs.

    A spec that can't be served changes nothing: users can correct it or set the skip-reject
    annotation.
    """
    rejects = (
        entry.has_finalizer
        if isinstance(desired, InvalidSpecError)
        else desired.deletion_policy is DeletionPolicy.REJECT
    )
    if entry.deleting:
        if not entry.has_finalizer:
            return FinalizerAction.DELETED
        return (
            FinalizerAction.NOTHING if rejects and not entry.skip_reject else FinalizerAction.REMOVE
        )
    if rejects == entry.has_finalizer:
        return FinalizerAction.NOTHING
    return FinalizerAction.ADD if rejects else FinalizerAction.REMOVE


def may_be_stuck(entry: CachedObject, desired: Desired | InvalidSpecError) -> bool:
    """Whether the deletion waits for a person, as for credentials or a valid spec.

    In a namespace that is being deleted, no one can create them any more.
    """
    if not entry.deleting:
        return False
    if isinstance(desired, InvalidSpecError) or desired.suspend or desired.dry_run:
        return True
    return entry.known.secret_version == ""  # there was no Secret or ServiceAccount


class NamespaceReader(Protocol):
    """The calls to Kubernetes that this module needs."""

    async def namespace_terminating(self, namespace: str) -> bool:
        """Whether the whole namespace is being deleted. Raises `KubeError`."""
        ...


@dataclass(slots=True, kw_only=True)
class StuckDeletions:
    """Finds resources whose deletion can never finish.

    Attributes:
        ttl: how long the state of a namespace is cached, for all resources in it; also how often
            a resource is checked that may become stuck.
    """

    namespaces: NamespaceReader
    credentials: CredentialSource
    now: Callable[[], datetime]
    ttl: timedelta
    _terminating: SingleFlightCache[str, bool] = field(init=False)

    def __post_init__(self) -> None:
        """Create the cache of namespaces."""
        self._terminating = SingleFlightCache(self.now)

    async def includes(self, entry: CachedObject, desired: Desired | InvalidSpecError) -> bool:
        """Whether the deletion of ``entry`` can never finish; then it is logged.

        Raises:
            KubeError: the namespace could not be read.
        """
        if not await self._is_terminating(entry.key.namespace):
            return False
        if not isinstance(desired, InvalidSpecError) and await self._has_credentials(
            entry, desired
        ):
            return False
        why = (
            "its spec is not valid"
            if isinstance(desired, InvalidSpecError)
            else f"{desired.credentials} was deleted first"
        )
        log.warning(
            "%s: removed the finalizer without rejecting the shares: the namespace is being "
            "deleted and %s",
            entry.key,
            why,
        )
        return True

    async def _is_terminating(self, namespace: str) -> bool:
        async def load() -> tuple[bool, timedelta]:
            return await self.namespaces.namespace_terminating(namespace), self.ttl

        return await self._terminating.get(namespace, load)

    async def _has_credentials(self, entry: CachedObject, desired: Desired) -> bool:
        try:
            await self.credentials.get(entry.key.namespace, desired.credentials)
        except UnusableSecretError as exc:
            return exc.version != ""
        return True
