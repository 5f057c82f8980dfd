"""IMS v1: batch memberships, jobs, quota (reference, 2 and 3)."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import web

from otc_simulator import answers, jobs
from otc_simulator.access import project_token, project_with
from otc_simulator.jobs import Job, JobFault, JobKind
from otc_simulator.membership import Image, vault_refusal
from otc_simulator.state import Change
from otc_simulator.world import NOTE, World, world_of

IMAGE_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
PROJECT_ID = re.compile(r"[0-9a-f]{32}")
MOST_MEMBERS, MOST_MEMBERS_WHOLE = 256, 10
"""Recipients per image; the second for full-ECS images (reference, 6)."""


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_route("PUT", "/v1/cloudimages/members", update_members)
    router.add_route("POST", "/v1/cloudimages/members", add_members)
    router.add_route("DELETE", "/v1/cloudimages/members", delete_members)
    router.add_route("GET", "/v1/cloudimages/quota", show_quota)
    router.add_route("GET", "/v1/cloudimages/job/{job_id}", show_progress)
    router.add_route("GET", "/v1/{project_id}/jobs/{job_id}", show_job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    images: tuple[str, ...]
    """Distinct, in order."""
    raw: dict[str, Any]

    def text(self, name: str) -> str:
        value = self.raw.get(name)
        if not isinstance(value, str):
            raise answers.ims("IMG.0001", f"{name} is missing or not a string.")
        return value


async def update_members(request: web.Request) -> web.Response:
    world = world_of(request)
    own = project_with(request, "share")
    body = await _body(request)
    project_id, status = body.text("project_id"), body.text("status")
    if project_id != own:
        world.journal.foreign_project_puts += 1
    world.journal.images_per_put.append(len(body.raw["images"]))
    if not PROJECT_ID.fullmatch(project_id):
        raise answers.ims("IMG.0067", "The project id is incorrect.")
    if project_id != own:
        raise answers.ims(world.settings.foreign_project, "The project id and token do not match.")
    if status not in ("accepted", "rejected"):
        raise answers.ims("IMG.0001", "status must be accepted or rejected.")
    vault_id = body.text("vault_id") if body.raw.get("vault_id") is not None else None
    _refuse_unshared(world, body.images, own)
    if status == "accepted" and world.settings.full_ecs == "sync":
        _refuse_without_vault(world, body.images, own, vault_id)
    change = Change(
        kind=JobKind.UPDATE,
        project_id=own,
        images=body.images,
        projects=(own,),
        status=status,
        vault_id=vault_id,
    )
    return _submit(request, change)


async def add_members(request: web.Request) -> web.Response:
    world = world_of(request)
    own = project_with(request, "share")
    body = await _body(request)
    projects = _projects(body)
    for image_id in body.images:
        image = _owned_image(world, image_id, own)
        _refuse_unshareable(world, image, len(projects))
    for project_id in projects:
        project = world.cloud.directory.projects.get(project_id)
        if project_id == own:
            raise answers.ims("IMG.0076", "An image cannot be shared with its owner.")
        if project is None or project.region != world.settings.region:
            raise answers.ims("IMG.0108", "The tenant was not found in this region.")
    change = Change(kind=JobKind.ADD, project_id=own, images=body.images, projects=projects)
    return _submit(request, change)


async def delete_members(request: web.Request) -> web.Response:
    world = world_of(request)
    own = project_with(request, "share")
    body = await _body(request)
    projects = _projects(body)
    for image_id in body.images:
        _owned_image(world, image_id, own)
    change = Change(kind=JobKind.DELETE, project_id=own, images=body.images, projects=projects)
    return _submit(request, change)


async def show_job(request: web.Request) -> web.Response:
    own = project_token(request).project_id or ""
    if request.match_info["project_id"] != own:
        raise answers.ims("IMG.0030", "The project id and token do not match.")
    world = world_of(request)
    job = _job(world, request.match_info["job_id"], own)
    request[NOTE].images = job.images
    return web.json_response(jobs.full_view(job, world.now(), world.settings))


async def show_progress(request: web.Request) -> web.Response:
    own = project_token(request).project_id or ""
    world = world_of(request)
    job = _job(world, request.match_info["job_id"], own)
    request[NOTE].images = job.images
    return web.json_response(jobs.progress_view(job, world.now(), world.settings))


async def show_quota(request: web.Request) -> web.Response:
    own = project_with(request, "quota")
    used = sum(1 for _ in world_of(request).cloud.registry.owned(own))
    resource = {"type": "image", "used": used, "quota": 100, "min": 1, "max": 1000}
    return web.json_response({"quotas": {"resources": [resource]}})


async def _body(request: web.Request) -> Body:
    """Read the part that the three calls share: a JSON object with ``images``."""
    text = await request.read()
    if not text.strip():
        raise answers.ims("IMG.0007", "The request body is empty.")
    try:
        raw = json.loads(text)
    except ValueError as exc:
        raise answers.ims("IMG.0001", "The request body is malformed.") from exc
    images = raw.get("images") if isinstance(raw, dict) else None
    if not isinstance(images, list) or not images:
        raise answers.ims("IMG.0001", "images is missing or empty.")
    for image_id in images:
        if not isinstance(image_id, str) or not IMAGE_ID.fullmatch(image_id):
            raise answers.ims("IMG.0066", "An image id is malformed.")
    most = world_of(request).settings.max_batch
    if most is not None and len(images) > most:
        raise answers.gateway(413, "APIGW.0201", "Request entity too large.")
    distinct = tuple(dict.fromkeys(images))
    request[NOTE].images = distinct
    return Body(images=distinct, raw=raw)


def _projects(body: Body) -> tuple[str, ...]:
    projects = body.raw.get("projects")
    if not isinstance(projects, list) or not projects:
        raise answers.ims("IMG.0001", "projects is missing or empty.")
    if not all(isinstance(each, str) and PROJECT_ID.fullmatch(each) for each in projects):
        raise answers.ims("IMG.0067", "A project id is incorrect.")
    return tuple(dict.fromkeys(projects))


def _submit(request: web.Request, change: Change) -> web.Response:
    world = world_of(request)
    effect = request[NOTE].effect
    fault = (effect.job if effect else None) or JobFault()
    job = world.cloud.submit(change, fault=fault, settings=world.settings)
    return web.json_response({"job_id": job.id})


def _refuse_unshared(world: World, images: tuple[str, ...], project_id: str) -> None:
    """Refuse the whole batch for one image that is not shared, if the settings say so."""
    code = world.settings.not_shared
    if code == "job":
        return
    registry = world.cloud.registry
    for image_id in images:
        if registry.member(image_id, project_id) is None:
            # The text leaves out which image it was: nothing documents that it would be named.
            if code == "404":
                raise answers.ims("IMG.0144", "No image found.", HTTPStatus.NOT_FOUND)
            raise answers.ims(code, "An image was not found.")


def _refuse_without_vault(
    world: World, images: tuple[str, ...], project_id: str, vault_id: str | None
) -> None:
    registry = world.cloud.registry
    vault = registry.vault(vault_id, project_id)
    for image_id in images:
        image = registry.images.get(image_id)
        code = vault_refusal(image, vault) if image else None
        if code is not None:
            raise answers.ims(code, "The vault cannot be used for this full-ECS image.")


def _owned_image(world: World, image_id: str, project_id: str) -> Image:
    image = world.cloud.registry.images.get(image_id)
    if image is None:
        raise answers.ims("IMG.0027", "The image id does not exist.")
    if image.owner != project_id:
        raise answers.ims("IMG.0106", "The image belongs to another tenant.")
    return image


def _refuse_unshareable(world: World, image: Image, more: int) -> None:
    most = MOST_MEMBERS_WHOLE if image.whole else MOST_MEMBERS
    if image.status != "active":
        raise answers.ims("IMG.0046", "The image is not available.")
    if image.public:
        raise answers.ims("IMG.0089", "A public image cannot be shared.")
    if image.encrypted:
        raise answers.ims("IMG.0098", "An encrypted image cannot be shared.")
    if len(world.cloud.registry.members_of(image.id)) + more > most:
        raise answers.ims("IMG.0088", "The number of shares is at its limit.")


def _job(world: World, job_id: str, project_id: str) -> Job:
    job = world.cloud.jobs.get(job_id)
    if job is None or job.expired(world.now(), world.settings):
        if world.settings.unknown_job == "404":
            raise answers.ims("IMG.0023", "The job was not found.", HTTPStatus.NOT_FOUND)
        raise answers.ims("IMG.0023", "The job could not be queried.")
    if job.project_id != project_id:
        if world.settings.foreign_job == "403":
            raise answers.ims("IMG.0026", "Not your job.", HTTPStatus.FORBIDDEN)
        raise answers.ims("IMG.0030", "The project id and token do not match.")
    return job
