"""A token bucket: so much at once, and so much in a second. No I/O, no clock."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """Tokens that come back with time. Full at first.

    Attributes:
        most: tokens that it holds.
        per_s: tokens that come back in a second.
        at: when it was last asked, in seconds of the caller's clock.
    """

    most: float
    per_s: float
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        """Fill it."""
        self.tokens = self.most

    def take(self, count: int, now: float) -> bool:
        """Take so many tokens, or none; return whether they were there."""
        self.tokens = min(self.most, self.tokens + self.per_s * (now - self.at))
        self.at = now
        if count > self.tokens:
            return False
        self.tokens -= count
        return True
