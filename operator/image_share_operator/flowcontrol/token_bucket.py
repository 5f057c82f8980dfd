"""A token bucket: a burst, then a rate per second. No I/O, no clock."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class TokenBucket:
    """Tokens that refill with time. Full at first.

    Attributes:
        most: capacity in tokens.
        per_s: tokens per second that refill.
        at: time of the last call, in seconds of the caller's clock.
    """

    most: float
    per_s: float
    tokens: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        """Fill it."""
        self.tokens = self.most

    def take(self, count: int, now: float) -> bool:
        """Take ``count`` tokens or none; return whether they were available."""
        self.tokens = min(self.most, self.tokens + self.per_s * (now - self.at))
        self.at = now
        if count > self.tokens:
            return False
        self.tokens -= count
        return True
