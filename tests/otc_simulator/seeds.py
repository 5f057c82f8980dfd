"""From a seed (plain JSON data) into the cloud. No I/O; repeated names merge."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from otc_simulator.identity import (
    RIGHTS,
    AccessKey,
    Account,
    Agency,
    ApplicationCredential,
    Directory,
    IdentityProvider,
    Project,
    User,
    new_hex_id,
)
from otc_simulator.membership import STATUSES, VISIBILITIES, Image, Vault, new_image_id
from otc_simulator.settings import Settings
from otc_simulator.state import Cloud


class SeedError(ValueError):
    """A seed that cannot be planted; the text names the part."""


def plant(cloud: Cloud, seed: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Put a seed's accounts, images, shares and vaults into the cloud.

    Returns:
        The same shape with the ids that were given or made; never a password.
    """
    if unknown := set(seed) - {"accounts", "images", "shares", "vaults"}:
        raise SeedError(f"unknown keys in seed: {sorted(unknown)}")
    try:
        accounts = [_account(cloud, raw, settings) for raw in seed.get("accounts", ())]
        images = [_image(cloud, raw, settings) for raw in seed.get("images", ())]
        for image_id, project_id, status in seed.get("shares", ()):
            put_member(cloud, image_id, project_id, status)
        vaults = [_vault(cloud, raw) for raw in seed.get("vaults", ())]
    except (KeyError, TypeError) as exc:
        raise SeedError(f"seed: {exc!r}") from exc
    return {"accounts": accounts, "images": images, "vaults": vaults}


def put_member(cloud: Cloud, image_id: str, project_id: str, status: str) -> None:
    """Set a membership, as a user of the console does: at once, without a job or a lag."""
    if image_id not in cloud.registry.images:
        raise SeedError(f"no image {image_id}")
    if status not in STATUSES:
        raise SeedError(f"status {status!r}: not one of {', '.join(STATUSES)}")
    cloud.registry.put_member(image_id, project_id, status, now=cloud.now())


def _account(cloud: Cloud, raw: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    directory = cloud.directory
    account = directory.account_named(raw["name"])
    if account is None:
        account = Account(id=raw.get("id") or new_hex_id(), name=raw["name"])
        directory.put_account(account)
    projects = [
        Project(
            id=each.get("id") or new_hex_id(),
            name=each["name"],
            account_id=account.id,
            region=each.get("region", settings.region),
        )
        for each in raw.get("projects", ())
    ]
    for project in projects:
        directory.put_project(project)
    users = [_user(each, account.id) for each in raw.get("users", ())]
    for user, told in zip(users, raw.get("users", ()), strict=True):
        directory.put_user(user)
        for each in told.get("access_keys", ()):
            key = read_access_key(each, user.id, cloud.now())
            directory.access_keys[key.id] = key
    for each in raw.get("agencies", ()):
        _agency(directory, each, account)
    for each in raw.get("identity_providers", ()):
        _identity_provider(directory, each, account)
    return {
        "id": account.id,
        "name": account.name,
        "projects": [{"id": project.id, "name": project.name} for project in projects],
        "users": [{"id": user.id, "name": user.name} for user in users],
    }


def _user(raw: Mapping[str, Any], account_id: str) -> User:
    return User(
        id=raw.get("id") or new_hex_id(),
        name=raw["name"],
        account_id=account_id,
        password=raw["password"],
        programmatic=raw.get("programmatic", True),
        enabled=raw.get("enabled", True),
        rights=read_rights(raw.get("policies")),
        agent_operator=raw.get("agent_operator", False),
    )


def _identity_provider(directory: Directory, raw: Mapping[str, Any], account: Account) -> None:
    """Plant an identity provider; ``mappings``: subject, and what a user of a seed may have."""
    users: dict[str, str] = {}
    for subject, rights in raw.get("mappings", {}).items():
        user = User(
            id=new_hex_id(),
            name=subject,
            account_id=account.id,
            password=new_hex_id(),
            programmatic=False,
            rights=read_rights(rights.get("policies")),
            agent_operator=rights.get("agent_operator", False),
        )
        directory.put_user(user)
        users[subject] = user.id
    directory.identity_providers[raw["id"]] = IdentityProvider(
        id=raw["id"],
        account_id=account.id,
        issuer=raw["issuer"],
        audience=raw["audience"],
        jwks=raw["jwks"],
        users=users,
    )


def _agency(directory: Directory, raw: Mapping[str, Any], account: Account) -> None:
    """Plant an agency; ``trusts`` names an account that is planted already."""
    trusted = directory.account_named(raw["trusts"])
    if trusted is None:
        raise SeedError(f"no account {raw['trusts']}")
    user = User(
        id=new_hex_id(),
        name=f"{account.name}/{raw['name']}",
        account_id=account.id,
        password=new_hex_id(),
        programmatic=False,
        rights=read_rights(raw.get("policies")),
    )
    directory.put_user(user)
    directory.agencies[account.id, raw["name"]] = Agency(
        name=raw["name"],
        account_id=account.id,
        trusted_account_id=trusted.id,
        user_id=user.id,
    )


def read_access_key(raw: Mapping[str, Any], user_id: str, now: datetime) -> AccessKey:
    ttl = raw.get("ttl_seconds")
    return AccessKey(
        id=raw["id"],
        user_id=user_id,
        secret=raw["secret"],
        security_token=raw.get("security_token"),
        expires_at=None if ttl is None else now + timedelta(seconds=ttl),
    )


def put_application_credential(cloud: Cloud, raw: Mapping[str, Any]) -> None:
    """Give a user (``user``) a credential for a project (``project``)."""
    ttl = raw.get("ttl_seconds")
    credential = ApplicationCredential(
        id=raw["id"],
        user_id=cloud.directory.users[raw["user"]].id,
        project_id=cloud.directory.projects[raw["project"]].id,
        secret=raw["secret"],
        expires_at=None if ttl is None else cloud.now() + timedelta(seconds=ttl),
    )
    cloud.directory.application_credentials[credential.id] = credential


def read_rights(raw: Mapping[str, Any] | None) -> dict[str, frozenset[str]] | None:
    """Read rights by project id; None: every IMS right in every project of the account."""
    if raw is None:
        return None
    rights = {project_id: frozenset(names) for project_id, names in raw.items()}
    if unknown := frozenset().union(*rights.values()) - RIGHTS:
        raise SeedError(f"unknown rights: {sorted(unknown)}; there are: {sorted(RIGHTS)}")
    return rights


def _image(cloud: Cloud, raw: Mapping[str, Any], settings: Settings) -> str:
    now = cloud.now() + timedelta(seconds=settings.clock_skew_seconds)
    image_id = raw.get("id") or new_image_id()
    _check_visibility(raw)
    image = Image(
        id=image_id,
        name=raw.get("name", f"image-{image_id[:8]}"),
        owner=raw["owner"],
        created_at=read_time(raw.get("created_at"), now),
        updated_at=now,
        status=raw.get("status", "active"),
        visibility="public" if raw.get("public") else raw.get("visibility", "shared"),
        os_hidden=raw.get("os_hidden", False),
        encrypted=raw.get("encrypted", False),
        whole=raw.get("whole", False),
        size_gb=raw.get("size_gb", 40),
        os_type=raw.get("os_type", "Linux"),
        extra=raw.get("extra", {}),
        hidden=tuple(raw.get("hidden", ())),
    )
    cloud.registry.put_image(image)
    return image_id


CHANGEABLE = frozenset(
    {
        "name",
        "status",
        "os_type",
        "whole",
        "created_at",
        "extra",
        "hidden",
        "visibility",
        "os_hidden",
    }
)
"""What an owner changes of an image: all but its ID, and what this simulator does not need."""


def change_image(cloud: Cloud, image_id: str, raw: Mapping[str, Any]) -> None:
    """Change an image as its owner does: its shares stay."""
    if unknown := set(raw) - CHANGEABLE:
        raise SeedError(f"unknown keys in image: {sorted(unknown)}; known: {sorted(CHANGEABLE)}")
    if image_id not in cloud.registry.images:
        raise SeedError(f"no image {image_id}")
    _check_visibility(raw)
    changes = dict(raw)
    if "created_at" in raw:
        changes["created_at"] = read_time(raw["created_at"], cloud.now())
    if "hidden" in raw:
        changes["hidden"] = tuple(raw["hidden"])
    cloud.registry.change_image(image_id, changes, now=cloud.now())


def _check_visibility(raw: Mapping[str, Any]) -> None:
    if raw.get("visibility", "shared") not in VISIBILITIES:
        raise SeedError(f"visibility {raw['visibility']!r}: not one of {', '.join(VISIBILITIES)}")


def share_image(cloud: Cloud, image_id: str, projects: Sequence[str]) -> None:
    """Share an image as its owner does: pending, and a share that exists stays as it is."""
    if image_id not in cloud.registry.images:
        raise SeedError(f"no image {image_id}")
    for project_id in projects:
        cloud.registry.share(image_id, project_id, now=cloud.now())


def read_time(raw: str | None, default: datetime) -> datetime:
    """Read a time in ISO format; one without a zone is UTC, so that all times compare."""
    at = datetime.fromisoformat(raw) if raw else default
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _vault(cloud: Cloud, raw: Mapping[str, Any]) -> str:
    vault = Vault(
        id=raw.get("id") or new_image_id(),
        project_id=raw["project"],
        kind=raw.get("kind", "server_backup"),
        capacity_gb=raw.get("capacity_gb", 100),
    )
    cloud.registry.vaults[vault.id] = vault
    return vault.id
