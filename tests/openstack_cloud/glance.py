"""What an owner does with images in Glance: publishes, shares, withdraws, deletes them."""

import sqlite3
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

Json = dict[str, Any]
PATCH_TYPE = "application/openstack-images-v2.1-json-patch"
COPIED = ("images", "image_locations", "image_members")
"""The tables of one image, the parent first."""


class Glance:
    """The owner of images at the API of Glance.

    Args:
        database: of Glance, to copy images: one by one, 300 of them take half a minute.
    """

    def __init__(self, url: str, owner: str, database: Path) -> None:
        self.url = url
        self.owner = owner
        self._database = database
        self.http = httpx.Client(base_url=f"{url}/v2", timeout=60, trust_env=False)

    def close(self) -> None:
        self.http.close()

    def image(self, name: str = "ubuntu", *, shared_with: Sequence[str] = ()) -> str:
        """Create an active image; return its ID."""
        body = {
            "name": name,
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": "shared",
        }
        image = str(self._send("POST", "/images", json=body).json()["id"])
        self._send(
            "PUT",
            f"/images/{image}/file",
            content=b"disk",
            headers={"Content-Type": "application/octet-stream"},
        )
        for project in shared_with:
            self.share(image, project)
        return image

    def images(self, count: int, *, shared_with: Sequence[str], name: str = "ubuntu") -> list[str]:
        """Create equal images: one by the API, and copies of its rows in the database."""
        first = self.image(name, shared_with=shared_with)
        others = [str(uuid.uuid4()) for _ in range(count - 1)]
        with closing(sqlite3.connect(self._database, timeout=60)) as database, database:
            for table in COPIED:
                self._copy(database, table, first, others)
        return [first, *others]

    def _copy(
        self, database: sqlite3.Connection, table: str, image: str, copies: Sequence[str]
    ) -> None:
        key = "id" if table == COPIED[0] else "image_id"
        columns = [row[1] for row in database.execute(f"pragma table_info({table})")]
        if key != "id":
            columns.remove("id")  # SQLite gives each copy a new one
        rest = ", ".join(column for column in columns if column != key)
        database.executemany(
            f"insert into {table} ({key}, {rest}) select ?, {rest} from {table} where {key} = ?",  # noqa: S608 - names of the schema
            [(copy, image) for copy in copies],
        )

    def share(self, image: str, project: str) -> None:
        self._send("POST", f"/images/{image}/members", json={"member": project})

    def fill_member_quota(self, image: str) -> None:
        """Share the image with other projects until Glance refuses one more."""
        while True:
            body = {"member": uuid.uuid4().hex}
            answer = self.http.post(f"/images/{image}/members", json=body)
            if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
                return
            answer.raise_for_status()

    def withdraw(self, image: str, project: str) -> None:
        self._send("DELETE", f"/images/{image}/members/{project}")

    def member(self, image: str, project: str) -> str | None:
        """The membership of a project; ``None`` when there is none."""
        answer = self.http.get(f"/images/{image}/members/{project}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return str(answer.raise_for_status().json()["status"])

    def set_member(self, image: str, project: str, status: str, token: str) -> None:
        """Set the membership as a user of the project, with its token."""
        self._send(
            "PUT",
            f"/images/{image}/members/{project}",
            json={"status": status},
            headers={"X-Auth-Token": token},
        )

    def memberships(self, project: str) -> dict[str, str]:
        """All memberships of a project, as the database of Glance has them."""
        query = "select image_id, status from image_members where member = ? and deleted = 0"
        with closing(sqlite3.connect(self._database, timeout=60)) as database:
            return dict(database.execute(query, (project,)))

    def change(self, image: str, *, token: str | None = None, **changes: object) -> None:
        """Replace properties of an image.

        Args:
            token: of another user than the owner.
        """
        patch = [
            {"op": "replace", "path": f"/{name}", "value": value} for name, value in changes.items()
        ]
        headers = {"Content-Type": PATCH_TYPE}
        if token is not None:
            headers["X-Auth-Token"] = token
        self._send("PATCH", f"/images/{image}", json=patch, headers=headers)

    def deactivate(self, image: str) -> None:
        self._send("POST", f"/images/{image}/actions/deactivate")

    def delete(self, image: str) -> None:
        self._send("DELETE", f"/images/{image}")

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, path, **options)
        if not answer.is_success:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text}")
        return answer
