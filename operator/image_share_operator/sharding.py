"""Selects the namespaces that a replica reconciles. No I/O."""

import re
from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` shards. A namespace belongs to one shard, on all machines the same."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Parse ``index/count``, such as ``0/3``.

        Raises:
            ValueError: the form is invalid, or the index is not less than the count.
        """
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError(
                "must have the form index/count, with an index less than the count, such as 0/3"
            )
        return cls(int(found[1]), int(found[2]))

    def owns(self, namespace: str) -> bool:
        """Return whether the namespace belongs to this shard."""
        return self.count == 1 or crc32(namespace.encode()) % self.count == self.index

    def name(self, base: str) -> str:
        """Return the name of an object of this shard, such as of its Lease."""
        return base if self.count == 1 else f"{base}-{self.index}"
