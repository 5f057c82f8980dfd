"""What a command left behind."""

import json
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
INSECURE = "--allow-insecure-endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Json:
        told: Json = json.loads(self.out)
        return told
