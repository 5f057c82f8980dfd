"""Who waits for which memberships: one answer may serve many. No I/O."""

import asyncio
from dataclasses import dataclass, field

from image_share_operator.api.types import Membership


@dataclass(slots=True, eq=False)
class Waiter:
    """One who waits for the memberships of several images.

    Attributes:
        wanted: how many images; at least one.
        answers: all of them, or the first error; cancelled when whoever asked went away.
    """

    wanted: int
    answers: asyncio.Future[dict[str, Membership]]
    _told: dict[str, Membership] = field(default_factory=dict[str, Membership])

    def tell(self, image: str, membership: Membership) -> None:
        """Give one of the answers."""
        self._told[image] = membership
        if len(self._told) == self.wanted and not self.answers.done():
            self.answers.set_result(self._told)

    def fail(self, why: Exception) -> None:
        """There is no answer for one of the images: no part may look complete."""
        if not self.answers.done():
            self.answers.set_exception(why)


@dataclass(slots=True, eq=False)
class MembershipRequest:
    """All who ask for one image and have not been answered.

    Attributes:
        since: what was read before does not answer the strictest of them.
        relaxed: whether the answer should serve those who ask a little later, too.
        answer: what they were told.
    """

    image: str
    since: float
    relaxed: bool
    askers: list[Waiter] = field(default_factory=list[Waiter])
    answer: Membership | None = None

    def tell(self, membership: Membership) -> None:
        """Answer all."""
        self.answer = membership
        for asker in self.askers:
            asker.tell(self.image, membership)

    def fail(self, why: Exception) -> None:
        """Tell all why there is no answer."""
        for asker in self.askers:
            asker.fail(why)

    def drop(self) -> None:
        """Let all go: nobody will answer any more."""
        for asker in self.askers:
            asker.answers.cancel()
