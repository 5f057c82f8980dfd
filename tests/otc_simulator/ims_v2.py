"""IMS v2: lists, images, native members, schemas (reference, 4 and 5)."""

import json
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from otc_simulator import answers, listing
from otc_simulator.access import project_token, project_with
from otc_simulator.membership import STATUSES, Image, Member, vault_refusal
from otc_simulator.world import NOTE, World, world_of

MEMBERS = "/v2/images/{image_id}/members"
MEMBER = MEMBERS + "/{member_id}"
WITHOUT_MEMBERS = ("public", "community", "private")
"""Visibilities whose member rows are kept, but not shown."""
IMAGE_ID_PATTERN = (
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
)


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_route("GET", "/", list_versions)
    router.add_route("GET", "/v2.0", list_versions)
    router.add_route("GET", "/v2/cloudimages", list_cloudimages)
    router.add_route("GET", "/v2/images", list_images)
    router.add_route("GET", "/v2/images/{image_id}", show_image)
    router.add_route("POST", MEMBERS, add_member)
    router.add_route("GET", MEMBERS, list_members)
    router.add_route("GET", MEMBER, show_member)
    router.add_route("PUT", MEMBER, update_member)
    router.add_route("DELETE", MEMBER, delete_member)
    router.add_route("GET", "/v2/schemas/member", show_member_schema)
    router.add_route("GET", "/v2/schemas/members", show_members_schema)


async def list_versions(request: web.Request) -> web.Response:
    link = {"rel": "self", "href": f"{world_of(request).base_url}/v2/"}
    versions = [{"id": "v2.0", "status": "SUPPORTED", "links": [link]}]
    return web.json_response({"versions": versions}, status=HTTPStatus.MULTIPLE_CHOICES)


async def list_cloudimages(request: web.Request) -> web.Response:
    images = _page(request, default_limit=500)
    registry = world_of(request).cloud.registry
    return web.json_response({"images": [listing.row(image, registry) for image in images]})


async def list_images(request: web.Request) -> web.Response:
    """Answer with relative links; ``next`` as upstream: whenever a page is full."""
    default_limit = 25
    images = _page(request, default_limit=default_limit)
    registry = world_of(request).cloud.registry
    query = {name: value for name, value in request.query.items() if name != "marker"}
    first = f"/v2/images?{urlencode(query)}" if query else "/v2/images"
    told: dict[str, Any] = {
        "images": [listing.row(image, registry) for image in images],
        "schema": "/v2/schemas/images",
        "first": first,
    }
    limit = min(int(query.get("limit", default_limit)), world_of(request).settings.max_limit)
    if images and len(images) == limit:
        told["next"] = f"/v2/images?{urlencode({**query, 'marker': images[-1].id})}"
    return web.json_response(told)


async def show_image(request: web.Request) -> web.Response:
    own = project_with(request, "get")
    image = _visible_image(request, own)
    return web.json_response(listing.row(image, world_of(request).cloud.registry))


async def add_member(request: web.Request) -> web.Response:
    own = project_with(request, "get", "share")
    world = world_of(request)
    image = _owned_image(request, own)
    if image.visibility in WITHOUT_MEMBERS:
        raise answers.glance(403, f"Not allowed to create members for image {image.id}.")
    member_id = (await _json(request)).get("member")
    if not isinstance(member_id, str) or not member_id:
        raise answers.glance(400, "Expected a dict in the form: {'member': 'image_id'}")
    if world.cloud.registry.member(image.id, member_id) is not None:
        text = f"Image member {member_id} already exists for image {image.id}."
        raise answers.glance(409, text)
    member = world.cloud.registry.share(image.id, member_id, now=world.now())
    return web.json_response(_member_row(world, member))


async def list_members(request: web.Request) -> web.Response:
    own = project_with(request, "get", "share")
    world = world_of(request)
    image = _visible_image(request, own)
    if image.visibility in WITHOUT_MEMBERS:
        raise answers.glance(403, f"Not allowed to list members for image {image.id}.")
    rows = [
        _member_row(world, member)
        for member in world.cloud.registry.members_of(image.id)
        if own in (image.owner, member.project_id) and _status(world, member)
    ]
    return web.json_response({"members": rows, "schema": "/v2/schemas/members"})


async def show_member(request: web.Request) -> web.Response:
    own = project_with(request, "get", "share")
    world = world_of(request)
    image = _visible_image(request, own)
    if image.visibility in WITHOUT_MEMBERS:
        raise answers.glance(404, "Only shared images have members.")
    member = world.cloud.registry.member(image.id, request.match_info["member_id"])
    if member is None or own not in (image.owner, member.project_id) or not _status(world, member):
        raise answers.glance(404, "Member not found.")
    return web.json_response(_member_row(world, member))


async def update_member(request: web.Request) -> web.Response:
    own = project_with(request, "get", "share")
    world = world_of(request)
    registry = world.cloud.registry
    image = _visible_image(request, own)
    body = await _json(request)
    status = body.get("status")
    if status not in STATUSES[1:]:
        raise answers.glance(400, "Expected a status: accepted or rejected.")
    if image.public:
        raise answers.glance(403, f"Not allowed to update members for image {image.id}.")
    if image.owner == own:
        raise answers.glance(403, "You are not permitted to modify 'status' on this image member.")
    member = registry.member(image.id, request.match_info["member_id"])
    if member is None or member.project_id != own:
        raise answers.glance(404, "Member not found.")
    code = vault_refusal(image, registry.vault(body.get("vault_id"), own))
    if status == "accepted" and code is not None:
        raise answers.ims(code, "The vault cannot be used for this full-ECS image.")
    changed = registry.set_status(member, status, now=world.now(), settings=world.settings)
    return web.json_response(_member_row(world, changed, status=status))


async def delete_member(request: web.Request) -> web.Response:
    own = project_with(request, "get", "share")
    image = _owned_image(request, own)
    if not world_of(request).cloud.registry.withdraw(image.id, request.match_info["member_id"]):
        raise answers.glance(404, "Member not found.")
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def show_member_schema(request: web.Request) -> web.Response:
    project_token(request)
    return web.json_response(_member_schema())


async def show_members_schema(request: web.Request) -> web.Response:
    project_token(request)
    return web.json_response(
        {
            "name": "members",
            "links": [{"href": "{schema}", "rel": "describedby"}],
            "properties": {
                "members": {"type": "array", "items": _member_schema()},
                "schema": {"type": "string"},
            },
        }
    )


def _page(request: web.Request, *, default_limit: int) -> list[Image]:
    world = world_of(request)
    viewer = listing.Viewer(
        project_id=project_with(request, "list"),
        registry=world.cloud.registry,
        now=world.now(),
        settings=world.settings,
    )
    effect = request[NOTE].effect
    unseen = effect.ignore_query if effect else ()
    query = {name: value for name, value in request.query.items() if name not in unseen}
    return listing.page(viewer, query, default_limit=default_limit)


def _visible_image(request: web.Request, project_id: str) -> Image:
    """Return the image if its owner, a member in any status, or, when public, anyone looks."""
    world = world_of(request)
    image_id = request.match_info["image_id"]
    request[NOTE].images = (image_id,)
    image = world.cloud.registry.images.get(image_id)
    registry, now, settings = world.cloud.registry, world.now(), world.settings
    if image is None or not registry.sees(project_id, image, now=now, settings=settings):
        raise answers.glance(404, f"No image found with ID {image_id}")
    return image


def _owned_image(request: web.Request, project_id: str) -> Image:
    image = _visible_image(request, project_id)
    if image.owner != project_id:
        raise answers.glance(403, "You are not permitted to change members of this image.")
    return image


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError as exc:
        raise answers.glance(400, "Malformed JSON in request body.") from exc
    if not isinstance(body, dict):
        raise answers.glance(400, "Expected a JSON object.")
    return body


def _status(world: World, member: Member) -> str | None:
    return member.visible_status(world.now(), world.settings)


def _member_row(world: World, member: Member, status: str | None = None) -> dict[str, Any]:
    return {
        "status": status or _status(world, member),
        "created_at": _time(world.shown(member.created_at)),
        "updated_at": _time(world.shown(member.updated_at)),
        "image_id": member.image_id,
        "member_id": member.project_id,
        "schema": "/v2/schemas/member",
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _member_schema() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "name": "member",
        "properties": {
            "status": {"type": "string", "enum": list(STATUSES)},
            "created_at": text,
            "updated_at": text,
            "image_id": {"type": "string", "pattern": IMAGE_ID_PATTERN},
            "member_id": {"type": "string", "description": "tenantId"},
            "schema": {"type": "string", "readOnly": True},
        },
    }
