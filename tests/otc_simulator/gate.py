"""Where every call comes in: faults, latency, counters, journal, request IDs."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from aiohttp import web

from otc_simulator import answers
from otc_simulator.access import TOKEN_HEADER
from otc_simulator.faults import Effect
from otc_simulator.journal import Call
from otc_simulator.signature import Received, is_signed
from otc_simulator.wire import ResetError, http_date, reset_connection, send_badly
from otc_simulator.world import NOTE, RECEIVED, Note, World, world_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONTROL = "/__sim"


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith(CONTROL):
        return await handler(request)
    world = world_of(request)
    world.cloud.settle(world.settings)
    note = request[NOTE] = Note()
    route = route_of(request)
    world.journal.calls[route] += 1
    request_id = world.next_request_id()
    await _note_signed(request)
    if world.faults.speaks_about(route):
        note.effect = await _effect(request, route, world)
    status = 0
    try:
        response = await _answer(request, handler, world, request_id)
        status = response.status
    except ResetError:
        return reset_connection(request)
    finally:
        # Before it is sent: what was carried out was so, whether or not anyone hears of it.
        world.journal.record(_call(request, route, note, status))
    response.headers[world.settings.request_id_header] = request_id
    response.headers["Date"] = http_date(world.shown(world.now()))
    return response if note.effect is None else await send_badly(request, response, note.effect)


async def _note_signed(request: web.Request) -> None:
    """Keep what a signed request is, as it came: handlers see it decoded."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if is_signed(headers) and TOKEN_HEADER not in request.headers:
        request[RECEIVED] = Received(
            method=request.method,
            raw_path=request.raw_path,
            headers=headers,
            body=await request.read(),
        )


def route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.method} {resource.canonical if resource else request.path}"


def _call(request: web.Request, route: str, note: Note, status: int) -> Call:
    return Call(
        at_monotonic_s=time.monotonic(),
        route=route,
        path=request.path,
        status=status,
        project=note.project,
        images=note.images,
        faulty=note.effect is not None,
    )


async def _answer(
    request: web.Request, handler: Handler, world: World, request_id: str
) -> web.Response:
    effect = request[NOTE].effect
    if world.settings.latency_seconds:
        await asyncio.sleep(world.settings.latency_seconds)
    try:
        if effect is None:
            response = await handler(request)
        else:
            response = await _faulty(request, handler, world, effect)
    except answers.RefusalError as refusal:
        return render(refusal, request, request_id)
    except web.HTTPRequestEntityTooLarge:
        return render(answers.gateway(413, "APIGW.0201", "Body too large."), request, request_id)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        text = "The API does not exist or has not been published in the environment."
        return render(answers.gateway(404, "APIGW.0101", text), request, request_id)
    if not isinstance(response, web.Response):
        raise TypeError("every handler answers with a whole web.Response")
    return response


async def _effect(request: web.Request, route: str, world: World) -> Effect | None:
    token = world.cloud.directory.tokens.get(request.headers.get(TOKEN_HEADER, ""))
    return world.faults.meet(
        route,
        images=await _images_named(request),
        project_id=token.project_id if token else request.headers.get("X-Project-Id"),
        now=world.now(),
        query=request.query,
    )


async def _images_named(request: web.Request) -> tuple[str, ...]:
    image_id = request.match_info.get("image_id")
    if image_id is not None:
        return (image_id,)
    try:
        body: Any = json.loads(await request.read() or b"null")
    except ValueError:
        return ()
    images = body.get("images") if isinstance(body, dict) else None
    return tuple(map(str, images)) if isinstance(images, list) else ()


async def _faulty(
    request: web.Request, handler: Handler, world: World, effect: Effect
) -> web.StreamResponse:
    """Carry a call out as far as the effect lets it."""
    if effect.delay_seconds:
        await asyncio.sleep(effect.delay_seconds)
        world.cloud.settle(world.settings)
    if effect.expire_token:
        directory = world.cloud.directory
        token = directory.tokens.get(request.headers.get(TOKEN_HEADER, ""))
        directory.kill_tokens([token] if token else [], world.now())
    lost = effect.reset or effect.status is not None
    if lost and effect.handle:
        await handler(request)
    if effect.reset:
        raise ResetError
    if effect.status is not None:
        raise _injected(effect, effect.status, world)
    response = await handler(request)
    for image_id in effect.withdraw:
        world.cloud.registry.withdraw(image_id, request[NOTE].project or "")
    return response


def _injected(effect: Effect, status: int, world: World) -> answers.RefusalError:
    headers = dict(effect.headers)
    if effect.retry_after is not None:
        headers["Retry-After"] = f"{effect.retry_after:g}"
    if effect.retry_after_date is not None:
        headers["Retry-After"] = http_date(world.shown(world.now()), effect.retry_after_date)
    match effect.body:
        case "html":
            refusal = answers.html(status, effect.message)
        case "xml":
            refusal = answers.xml(status, effect.message)
        case "empty":
            refusal = answers.RefusalError(status=status, payload=None)
        case "text":
            refusal = answers.RefusalError(status=status, payload=effect.text or "")
        case _:
            refusal = answers.injected(status, effect.code, effect.message)
    refusal.headers = headers
    return refusal


def render(refusal: answers.RefusalError, request: web.Request, request_id: str) -> web.Response:
    payload, content_type = refusal.payload, refusal.content_type
    if payload is None:
        return web.Response(status=refusal.status, headers=refusal.headers)
    if not isinstance(payload, str):
        if refusal.glance and "application/json" not in request.headers.get("Accept", ""):
            text = answers.html_page(HTTPStatus(refusal.status), payload["message"])
            payload, content_type = text, answers.HTML
        else:
            if str(payload.get("error_code", "")).startswith("APIGW."):
                payload = {**payload, "request_id": request_id}
            payload = json.dumps(payload)
    headers = {"Content-Type": content_type, **refusal.headers}
    return web.Response(status=refusal.status, body=payload.encode(), headers=headers)
