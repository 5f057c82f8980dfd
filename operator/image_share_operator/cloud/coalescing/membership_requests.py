"""Which reconciles wait for which memberships: one response can serve many of them. No I/O."""

import asyncio
from dataclasses import dataclass, field

from image_share_operator.api.errors import CloudError
from image_share_operator.api.types import Membership

Result = Membership | CloudError
"""What was read of one image: its membership, or why it could not be read."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A reconcile that waits for the memberships of several images.

    Attributes:
        expected: the number of images; at least 1.
        result: one for each image; cancelled with the reconcile.
    """

    expected: int
    result: asyncio.Future[dict[str, Result]]
    _found: dict[str, Result] = field(default_factory=dict[str, Result])

    def set_result(self, image: str, result: Result) -> None:
        """Add the result of one image; the last one completes the result of the reconcile."""
        self._found[image] = result
        if len(self._found) == self.expected and not self.result.done():
            self.result.set_result(self._found)

    def set_exception(self, error: Exception) -> None:
        """End with an error that is not about an image, such as a fault in this program."""
        if not self.result.done():
            self.result.set_exception(error)


@dataclass(slots=True, eq=False)
class MembershipRequest:
    """A request for one image, for all reconciles that wait for it.

    Attributes:
        not_before: time of the event loop; a membership that was read earlier is too old.
        cacheable: whether a reconcile accepts a cached membership, so that the list is cached.
        result: ``None`` while there is none.
    """

    image: str
    not_before: float
    cacheable: bool
    waiters: list[Waiter] = field(default_factory=list[Waiter])
    result: Result | None = None

    def set_result(self, result: Result) -> None:
        """Pass the result to all waiters."""
        self.result = result
        for waiter in self.waiters:
            waiter.set_result(self.image, result)

    def set_exception(self, error: Exception) -> None:
        """Pass a `CloudError` as the result of this image; end all waiters with any other error."""
        if isinstance(error, CloudError):
            self.set_result(error)
            return
        for waiter in self.waiters:
            waiter.set_exception(error)

    def cancel(self) -> None:
        """Cancel all waiters: there will be no result."""
        for waiter in self.waiters:
            waiter.result.cancel()
