"""The out-of-band API of tests and demos, ``/__sim/...``: seed, inspect, break."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from aiohttp import web

from otc_simulator import settings as simulated_settings
from otc_simulator.faults import FaultError, read_rule
from otc_simulator.seeds import (
    SeedError,
    change_image,
    plant,
    put_application_credential,
    put_member,
    read_access_key,
    read_rights,
    share_image,
)
from otc_simulator.settings import SettingsError
from otc_simulator.world import World, world_of

Action = Callable[[World, Mapping[str, Any]], Mapping[str, Any] | None]
Handler = Callable[[web.Request], Awaitable[web.Response]]


def add_routes(router: web.UrlDispatcher) -> None:
    for method, name, action in (
        ("POST", "reset", reset),
        ("POST", "seed", seed),
        ("GET", "settings", show_settings),
        ("POST", "settings", change_settings),
        ("POST", "faults", add_faults),
        ("DELETE", "faults", clear_faults),
        ("GET", "counters", show_counters),
        ("GET", "journal", show_journal),
        ("GET", "members", list_members),
        ("POST", "members", set_member),
        ("DELETE", "members", withdraw_member),
        ("POST", "images", edit_image),
        ("DELETE", "images", delete_image),
        ("POST", "shares", share),
        ("POST", "users", change_user),
        ("POST", "access_keys", add_access_key),
        ("PATCH", "access_keys", change_access_key),
        ("DELETE", "access_keys", delete_access_key),
        ("POST", "application_credentials", add_application_credential),
        ("DELETE", "tokens", kill_tokens),
        ("POST", "clock", advance_clock),
        ("POST", "jobs", finish_jobs),
    ):
        router.add_route(method, f"/__sim/{name}", _handler(action))


def _handler(action: Action) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        world = world_of(request)
        world.cloud.settle(world.settings)
        try:
            raw = json.loads(await request.read() or b"{}")
            told = action(world, {**request.query, **raw})
        except (SeedError, SettingsError, FaultError, KeyError, TypeError, ValueError) as exc:
            told = {"error": f"{type(exc).__name__}: {exc}"}
            return web.json_response(told, status=HTTPStatus.BAD_REQUEST)
        return web.json_response(told if told is not None else {})

    return handle


def reset(world: World, _body: Mapping[str, Any]) -> None:
    world.reset()


def seed(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return plant(world.cloud, body, world.settings)


def show_settings(world: World, _body: Mapping[str, Any]) -> Mapping[str, Any]:
    return simulated_settings.shown(world.settings)


def change_settings(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    world.settings = simulated_settings.changed(world.settings, body)
    return simulated_settings.shown(world.settings)


def add_faults(world: World, body: Mapping[str, Any]) -> None:
    """Add one rule, or several: ``{"rules": [...]}``; none if one of them cannot be read."""
    for rule in [read_rule(raw) for raw in body.get("rules", [body])]:
        world.faults.add(rule)


def clear_faults(world: World, _body: Mapping[str, Any]) -> None:
    world.faults.clear()


def show_counters(world: World, _body: Mapping[str, Any]) -> Mapping[str, Any]:
    return world.journal.counters(most_jobs_per_image=world.cloud.most_jobs_per_image)


def show_journal(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"calls": [call.told() for call in world.journal.entries(body.get("route"))]}


def list_members(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the truth, lags aside; ``image`` and ``project`` narrow it."""
    registry = world.cloud.registry
    if "image" in body:
        members = registry.members_of(body["image"])
    else:
        members = tuple(registry.all_members())
    rows = [
        {"image": member.image_id, "project": member.project_id, "status": member.status}
        for member in members
        if body.get("project", member.project_id) == member.project_id
    ]
    return {"members": rows}


def set_member(world: World, body: Mapping[str, Any]) -> None:
    put_member(world.cloud, body["image"], body["project"], body["status"])


def withdraw_member(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"withdrawn": world.cloud.registry.withdraw(body["image"], body["project"])}


def edit_image(world: World, body: Mapping[str, Any]) -> None:
    """Change an image (``image``): a key of `CHANGEABLE`."""
    changes = {name: value for name, value in body.items() if name != "image"}
    change_image(world.cloud, body["image"], changes)


def share(world: World, body: Mapping[str, Any]) -> None:
    """Share an image (``image``) with ``projects``; lags count, unlike with ``seed``."""
    share_image(world.cloud, body["image"], body["projects"])


def delete_image(world: World, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"deleted": world.cloud.registry.delete_image(body["image"])}


def change_user(world: World, body: Mapping[str, Any]) -> None:
    """Change a user (``id``): a key of ``changeable``, policies.

    ``unlock`` ends a lock.
    """
    directory = world.cloud.directory
    user = directory.users[body["id"]]
    changeable = ("password", "password_expired", "enabled", "programmatic", "agent_operator")
    changes = {name: body[name] for name in changeable if name in body}
    if "policies" in body:
        changes["rights"] = read_rights(body["policies"])
    if body.get("unlock"):
        directory.unlock(user.id)
    if changes:
        user = replace(user, **changes)
        directory.change_user(user, now=world.now(), settings=world.settings)


def add_access_key(world: World, body: Mapping[str, Any]) -> None:
    """Add a key of a user; an older one with its id is replaced."""
    directory = world.cloud.directory
    user = directory.users[body["user"]]
    key = read_access_key(body, user.id, world.now())
    directory.access_keys[key.id] = key


def change_access_key(world: World, body: Mapping[str, Any]) -> None:
    """Change a key (``id``): enabled, secret; ``end`` lets it end now, ``unlock`` ends a lock."""
    directory = world.cloud.directory
    key = directory.access_keys[body["id"]]
    changes = {name: body[name] for name in ("enabled", "secret") if name in body}
    if body.get("end"):
        changes["expires_at"] = world.now()
    if body.get("unlock"):
        directory.unlock_key(key.id)
    directory.access_keys[key.id] = replace(key, **changes)


def delete_access_key(world: World, body: Mapping[str, Any]) -> None:
    del world.cloud.directory.access_keys[body["id"]]


def add_application_credential(world: World, body: Mapping[str, Any]) -> None:
    put_application_credential(world.cloud, body)


def kill_tokens(world: World, body: Mapping[str, Any]) -> None:
    """Let ``tokens`` stop working now, or every token that is out."""
    directory = world.cloud.directory
    known = [directory.tokens[value] for value in body.get("tokens") or directory.tokens]
    directory.kill_tokens(known, world.now())


def advance_clock(world: World, body: Mapping[str, Any]) -> None:
    world.clock.advance(timedelta(seconds=body["advance_seconds"]))
    world.cloud.settle(world.settings)


def finish_jobs(world: World, _body: Mapping[str, Any]) -> None:
    """Let every job that is under way end now."""
    world.cloud.finish(world.settings)
