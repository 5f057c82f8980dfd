"""cloud: change the simulated cloud of the demo, as the image owner or another client.

cloud show [IMAGE]          show the membership of all images, or of one image
cloud share IMAGE           share an image with the project of the demo
cloud publish NAME          build an image with this name, share it, and print its ID
cloud set IMAGE STATUS      set the membership to accepted, rejected or pending
cloud withdraw IMAGE        revoke a share, as the image owner
cloud down | up             refuse all connections; accept connections again
"""

import os
import sys
from typing import Any

import httpx


def main(arguments: list[str]) -> int:
    """Run the command; return the exit code."""
    project = os.environ["PROJECT"]
    match arguments:
        case ["show", *image]:
            rows = _call("GET", "members", params={"image": image[0]} if image else {})["members"]
            for row in rows:
                print(row["image"], row["status"])
        case ["share", image]:
            _call("POST", "seed", json={"shares": [[image, project, "pending"]]})
        case ["publish", name]:
            owner = os.environ["OWNER"]
            (image,) = _call("POST", "seed", json={"images": [{"owner": owner, "name": name}]})[
                "images"
            ]
            _call("POST", "shares", json={"image": image, "projects": [project]})
            print(image)
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
    response = httpx.request(method, f"{os.environ['CLOUD_CONTROL']}/__sim/{name}", **how)
    if response.is_error:
        raise SystemExit(f"cloud: {response.text}")
    body: dict[str, Any] = response.json()
    return body


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
