"""Which reconciles wait for which memberships: one response can serve many of them. No I/O."""

import asyncio
from dataclasses import dataclass, field

from image_share_operator.api.types import Membership


@dataclass(slots=True, eq=False)
class Waiter:
    """A reconcile that waits for the memberships of several images.

    Attributes:
        expected: the number of images; at least 1.
        result: all memberships, or the first error; cancelled with the reconcile.
    """

    expected: int
    result: asyncio.Future[dict[str, Membership]]
    _found: dict[str, Membership] = field(default_factory=dict[str, Membership])

    def set_membership(self, image: str, membership: Membership) -> None:
        """Add one membership; the last one completes the result."""
        self._found[image] = membership
        if len(self._found) == self.expected and not self.result.done():
            self.result.set_result(self._found)

    def set_exception(self, error: Exception) -> None:
        """End with an error: a result without one of the images would look complete."""
        if not self.result.done():
            self.result.set_exception(error)


@dataclass(slots=True, eq=False)
class MembershipRequest:
    """A request for one image, for all reconciles that wait for it.

    Attributes:
        not_before: time of the event loop; a membership that was read earlier is too old.
        cacheable: whether a reconcile accepts a cached membership, so that the list is cached.
        membership: the result; ``None`` while there is none.
    """

    image: str
    not_before: float
    cacheable: bool
    waiters: list[Waiter] = field(default_factory=list[Waiter])
    membership: Membership | None = None

    def set_result(self, membership: Membership) -> None:
        """Pass the membership to all waiters."""
        self.membership = membership
        for waiter in self.waiters:
            waiter.set_membership(self.image, membership)

    def set_exception(self, error: Exception) -> None:
        """Pass the error to all waiters."""
        for waiter in self.waiters:
            waiter.set_exception(error)

    def cancel(self) -> None:
        """Cancel all waiters: there will be no result."""
        for waiter in self.waiters:
            waiter.result.cancel()
