"""Images, their members, vaults. Pure: the time is an argument; no I/O, no log."""

import uuid
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from otc_simulator.settings import Settings

STATUSES = ("pending", "accepted", "rejected")
VISIBILITIES = ("public", "community", "shared", "private")


def new_image_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    id: str
    name: str
    owner: str
    created_at: datetime
    updated_at: datetime
    status: str = "active"
    visibility: str = "shared"
    """``shared``: with its members, which may be none. One of `VISIBILITIES`."""
    os_hidden: bool = False
    """Not listed, but found by its ID."""
    encrypted: bool = False
    whole: bool = False
    """A full-ECS image: accepting it needs a vault."""
    size_gb: int = 40
    os_type: str = "Linux"
    extra: Mapping[str, object] = field(default_factory=dict[str, object])
    """Further keys of the image's row, as given by the seed; they replace its own."""
    hidden: tuple[str, ...] = ()
    """Keys that the image's row does not have, e.g. ``created_at``."""

    @property
    def public(self) -> bool:
        """Whether all projects see it: it has no members then, but keeps their rows."""
        return self.visibility in ("public", "community")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    image_id: str
    project_id: str
    status: str
    created_at: datetime
    updated_at: datetime
    status_before: str | None
    """What was visible before the last change; None: the share itself was not."""

    def visible_status(self, now: datetime, settings: Settings) -> str | None:
        """Return what reads show; None while the new share cannot be seen yet."""
        lag_s = (
            settings.share_lag_seconds
            if self.status_before is None
            else settings.visibility_lag_seconds
        )
        if lag_s and now < self.updated_at + timedelta(seconds=lag_s):
            return self.status_before
        return self.status


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    id: str
    project_id: str
    kind: str = "server_backup"
    capacity_gb: int = 100


class Registry:
    """All images and memberships, with an index for each question a hot route asks."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.vaults: dict[str, Vault] = {}
        self.lists: dict[Hashable, list[Image]] = {}
        """What lists found, by what was asked; emptied by each change."""
        self._owned: dict[str, dict[str, None]] = {}
        self._public: dict[str, None] = {}
        self._by_image: dict[str, dict[str, Member]] = {}
        self._by_project: dict[str, dict[str, Member]] = {}

    def put_image(self, image: Image) -> None:
        """Add an image, or replace the one with its id; its members stay."""
        self.lists.clear()
        if image.id in self.images:
            self._owned[self.images[image.id].owner].pop(image.id)
            self._public.pop(image.id, None)
        self.images[image.id] = image
        self._owned.setdefault(image.owner, {})[image.id] = None
        if image.public:
            self._public[image.id] = None

    def change_image(self, image_id: str, changes: Mapping[str, Any], *, now: datetime) -> None:
        """Change parts of an image, as its owner does; raises KeyError for an unknown one."""
        self.put_image(replace(self.images[image_id], updated_at=now, **changes))

    def delete_image(self, image_id: str) -> bool:
        image = self.images.pop(image_id, None)
        if image is None:
            return False
        self.lists.clear()
        self._owned[image.owner].pop(image_id, None)
        self._public.pop(image_id, None)
        for project_id in self._by_image.pop(image_id, {}):
            self._by_project[project_id].pop(image_id, None)
        return True

    def owned(self, project_id: str) -> Iterator[Image]:
        return (self.images[image_id] for image_id in self._owned.get(project_id, ()))

    def public(self) -> Iterator[Image]:
        return (self.images[image_id] for image_id in self._public)

    def member(self, image_id: str, project_id: str) -> Member | None:
        return self._by_image.get(image_id, {}).get(project_id)

    def members_of(self, image_id: str) -> tuple[Member, ...]:
        return tuple(self._by_image.get(image_id, {}).values())

    def shared_out(self, image_id: str) -> bool:
        return bool(self._by_image.get(image_id))

    def shares_with(self, project_id: str) -> tuple[Member, ...]:
        return tuple(self._by_project.get(project_id, {}).values())

    def sees(self, project_id: str, image: Image, *, now: datetime, settings: Settings) -> bool:
        """Whether a project finds the image by its ID: as owner, as member, or as anyone."""
        if image.public or image.owner == project_id:
            return True
        member = self.member(image.id, project_id) if image.visibility == "shared" else None
        return member is not None and member.visible_status(now, settings) is not None

    def vault(self, vault_id: str | None, project_id: str) -> Vault | None:
        vault = self.vaults.get(vault_id or "")
        return vault if vault is not None and vault.project_id == project_id else None

    def all_members(self) -> Iterator[Member]:
        return (member for members in self._by_image.values() for member in members.values())

    def share(self, image_id: str, project_id: str, *, now: datetime) -> Member:
        """Add a membership; one that is already there is returned as it is."""
        known = self.member(image_id, project_id)
        if known is not None:
            return known
        member = Member(
            image_id=image_id,
            project_id=project_id,
            status="pending",
            created_at=now,
            updated_at=now,
            status_before=None,
        )
        self._store(member)
        return member

    def put_member(self, image_id: str, project_id: str, status: str, *, now: datetime) -> Member:
        """Set a membership and let it be seen at once, lags or not."""
        known = self.member(image_id, project_id)
        member = Member(
            image_id=image_id,
            project_id=project_id,
            status=status,
            created_at=known.created_at if known else now,
            updated_at=now,
            status_before=status,
        )
        self._store(member)
        return member

    def set_status(
        self, member: Member, status: str, *, now: datetime, settings: Settings
    ) -> Member:
        set_now = replace(
            member,
            status=status,
            updated_at=now if status != member.status else member.updated_at,
            status_before=member.visible_status(now, settings),
        )
        self._store(set_now)
        return set_now

    def withdraw(self, image_id: str, project_id: str) -> bool:
        if self.member(image_id, project_id) is None:
            return False
        self.lists.clear()
        del self._by_image[image_id][project_id]
        del self._by_project[project_id][image_id]
        return True

    def _store(self, member: Member) -> None:
        self.lists.clear()
        self._by_image.setdefault(member.image_id, {})[member.project_id] = member
        self._by_project.setdefault(member.project_id, {})[member.image_id] = member


def vault_refusal(image: Image, vault: Vault | None) -> str | None:
    """Return the code that refuses to accept a full-ECS image; None when it may be accepted."""
    if not image.whole:
        return None
    if vault is None:
        return "IMG.0184"
    if vault.kind != "server_backup":
        return "IMG.0193"
    if vault.capacity_gb < image.size_gb:
        return "IMG.0182"
    return None
