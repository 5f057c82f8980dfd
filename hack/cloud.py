"""`cloud`, for those who play with the demo: be the images' owner, or somebody at the console.

cloud show [IMAGE]          who was offered what, and what they said
cloud share IMAGE           offer an image to the demo's project
cloud set IMAGE STATUS      answer by hand: accepted, rejected or pending
cloud withdraw IMAGE        end a share, as only the owner can
cloud down | up             refuse all connections; be back
"""

import os
import sys
from typing import Any

import httpx


def main(words: list[str]) -> int:
    """Do what the words say; return the exit code."""
    project = os.environ["PROJECT"]
    match words:
        case ["show", *image]:
            rows = _call("GET", "members", params={"image": image[0]} if image else {})["members"]
            for row in rows:
                print(row["image"], row["status"])
        case ["share", image]:
            _call("POST", "seed", json={"shares": [[image, project, "pending"]]})
        case ["set", image, status]:
            _call("POST", "members", json={"image": image, "project": project, "status": status})
        case ["withdraw", image]:
            _call("DELETE", "members", json={"image": image, "project": project})
        case ["down"]:
            _call("POST", "offline", json={"seconds": None})
        case ["up"]:
            _call("POST", "online")
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


def _call(method: str, name: str, **how: Any) -> dict[str, Any]:
    answer = httpx.request(method, f"{os.environ['CLOUD_CONTROL']}/__sim/{name}", **how)
    if answer.is_error:
        raise SystemExit(f"cloud: {answer.text}")
    told: dict[str, Any] = answer.json()
    return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
