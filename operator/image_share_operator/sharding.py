"""Which namespaces this replica serves, where several work at once. No I/O."""

import re
from dataclasses import dataclass
from zlib import crc32


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` parts; all of a namespace is in one part, on every machine the same."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``index/count``, such as ``0/3``.

        Raises:
            ValueError: it is not of this form, or the index is not below the count.
        """
        found = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
        if found is None or int(found[1]) >= int(found[2]):
            raise ValueError("not of the form index/count, such as 0/3")
        return cls(int(found[1]), int(found[2]))

    def owns(self, namespace: str) -> bool:
        """Whether this part serves the namespace."""
        return self.count == 1 or crc32(namespace.encode()) % self.count == self.index

    def name(self, whole: str) -> str:
        """A name for this part of something that is called ``whole``."""
        return whole if self.count == 1 else f"{whole}-{self.index}"
