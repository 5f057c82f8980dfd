"""``python -m chaos.cloud``: the simulated cloud, with a recorder in front of it.

The simulator's journal tells neither whose token or access key a PUT carried nor which value it
set; the verdict needs both, and what each membership was at that moment.
"""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from chaos.faults import PUT
from chaos.model import MARK
from otc_simulator.access import TOKEN_HEADER
from otc_simulator.defaults import SEED
from otc_simulator.faults import Effect
from otc_simulator.gate import route_of
from otc_simulator.identity import Directory, Project, Token, User
from otc_simulator.jobs import Job, JobFault, state_of
from otc_simulator.membership import Member, Registry
from otc_simulator.seeds import plant
from otc_simulator.server import Address, application, serve
from otc_simulator.settings import Settings
from otc_simulator.signature import HEADER
from otc_simulator.state import Change, Cloud
from otc_simulator.world import NOTE, World, world_of

JOB_SECONDS = 0.5
LONGEST_JOB = timedelta(seconds=10)
"""Longer ones are none of the faults' (see `chaos.faults`)."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True, kw_only=True)
class Arrival:
    """One PUT on the tape. ``coming``: by image, jobs under way when it arrived."""

    at_s: float
    user: str | None
    token_project: str | None
    body: dict[str, Any]
    held: dict[str, str | None]
    coming: dict[str, list[str]]
    status: int = 0
    effects: tuple[str, ...] = ()
    job: str | None = None


@dataclass(slots=True)
class Recorder:
    """Everything recorded; PUTs one by one, other calls as counts."""

    puts: list[Arrival] = field(default_factory=list[Arrival])
    uses: Counter[tuple[str | None, str | None, str, str]] = field(
        default_factory=Counter[tuple[str | None, str | None, str, str]]
    )
    faulty_calls: int = 0
    set_by_job: set[tuple[str, str, datetime]] = field(
        default_factory=set[tuple[str, str, datetime]]
    )


RECORDER = web.AppKey("recorder", Recorder)
ARRIVAL: ContextVar[Arrival | None] = ContextVar("arrival", default=None)
"""The PUT that the present call is: jobs are its own."""


class MarkedDirectory(Directory):
    """Issues tokens that a grep finds."""

    def issue(
        self,
        user: User,
        project: Project | None,
        *,
        now: datetime,
        settings: Settings,
        **more: Any,
    ) -> Token:
        """Issue a token with the mark at its end."""
        plain = super().issue(user, project, now=now, settings=settings, **more)
        marked = replace(plain, value=plain.value + MARK)
        del self.tokens[plain.value]
        self.tokens[marked.value] = marked
        return marked


class RecordedRegistry(Registry):
    """Takes down which memberships jobs set; their time is the end of the job."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def set_status(
        self, member: Member, status: str, *, now: datetime, settings: Settings
    ) -> Member:
        """Set it and take it down."""
        self._recorder.set_by_job.add((member.image_id, member.project_id, now))
        return super().set_status(member, status, now=now, settings=settings)


class RecordedCloud(Cloud):
    """Tells each PUT which job is its own."""

    def __init__(self, now: Callable[[], datetime], recorder: Recorder) -> None:
        super().__init__(now)
        self.directory = MarkedDirectory()
        self.registry = RecordedRegistry(recorder)

    def submit(self, change: Change, *, fault: JobFault, settings: Settings) -> Job:
        """Queue the job and note it."""
        job = super().submit(change, fault=fault, settings=settings)
        arrival = ARRIVAL.get()
        if arrival is not None:
            arrival.job = job.id
        return job


@web.middleware
async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take down a call before anything else sees it."""
    if request.path.startswith("/__"):
        return await handler(request)
    recorder, world = request.app[RECORDER], world_of(request)
    world.cloud.settle(world.settings)
    route = route_of(request)
    user, project = _caller(request, world.cloud.directory)
    recorder.uses[user, project, route, request.path] += 1
    arrival = None
    if route == PUT:
        arrival = _arrival(await request.read(), world, user, project)
        recorder.puts.append(arrival)
    ARRIVAL.set(arrival)
    response: web.StreamResponse = web.Response()
    try:
        response = await handler(request)
    except ConnectionResetError:
        pass  # the client closed the connection during the response
    finally:
        effect = request[NOTE].effect if NOTE in request else None
        recorder.faulty_calls += effect is not None
        if arrival is not None:
            arrival.effects = _parts(effect)
            reset = effect is not None and effect.reset
            arrival.status = 0 if reset else response.status
    return response


def _caller(request: web.Request, directory: Directory) -> tuple[str | None, str | None]:
    """Name of the user and project of the token, or of the access key that signed.

    The cloud knows the user of each token that it issued, also for an agency or a ServiceAccount.
    """
    token = directory.tokens.get(request.headers.get(TOKEN_HEADER, ""))
    if token is not None:
        return directory.users[token.user_id].name, token.project_id
    signed = HEADER.fullmatch(request.headers.get("Authorization", ""))
    key = directory.access_keys.get(signed["scoped"] or signed["plain"]) if signed else None
    if key is None:
        return None, None
    return directory.users[key.user_id].name, request.headers.get("X-Project-Id")


def _arrival(raw: bytes, world: World, user: str | None, project: str | None) -> Arrival:
    try:
        body = json.loads(raw)
    except ValueError:
        body = {}
    images = list(dict.fromkeys(body.get("images", ())))
    registry, coming = world.cloud.registry, dict[str, list[str]]()
    # The newest jobs are at the end; those that are not settled are among the latest.
    for job in reversed(world.cloud.jobs.values()):
        if world.cloud.now() - job.submitted_at > LONGEST_JOB:
            break
        if job.rows is None and job.project_id == project:
            for image in set(images) & set(job.images):
                coming.setdefault(image, []).append(job.id)
    members = {image: registry.member(image, project or "") for image in images}
    return Arrival(
        at_s=time.monotonic(),
        user=user,
        token_project=project,
        body=body,
        held={image: member.status if member else None for image, member in members.items()},
        coming=coming,
    )


def _parts(effect: Effect | None) -> tuple[str, ...]:
    """The parts of a fault that differ from none."""
    if effect is None:
        return ()
    plain = Effect()
    return tuple(
        part.name
        for part in fields(Effect)
        if getattr(effect, part.name) != getattr(plain, part.name)
    )


async def show_tape(request: web.Request) -> web.Response:
    """Everything recorded so far, as `chaos.tape.read` reads it."""
    recorder, world = request.app[RECORDER], world_of(request)
    world.cloud.settle(world.settings)
    uses = [
        {"user": user, "token_project": project, "route": route, "path": path, "count": count}
        for (user, project, route, path), count in recorder.uses.items()
    ]
    puts = [_told(put, world, recorder) for put in recorder.puts]
    return web.json_response({"puts": puts, "uses": uses, "faulty_calls": recorder.faulty_calls})


def _told(put: Arrival, world: World, recorder: Recorder) -> dict[str, Any]:
    cloud = world.cloud

    def failed(job: Job | None) -> bool:
        return job is not None and state_of(job, cloud.now(), world.settings) == "FAIL"

    def done(job_id: str | None, image: str) -> bool:
        job = cloud.jobs.get(job_id or "")
        return job is not None and (image, job.project_id, job.ends_at) in recorder.set_by_job

    def came(image: str) -> list[tuple[str, str | None]]:
        jobs = [cloud.jobs[job_id] for job_id in put.coming.get(image, ()) if done(job_id, image)]
        return [(job.id, job.status) for job in sorted(jobs, key=lambda job: job.ends_at)]

    settings = [
        {"image": image, "held": held, "coming": came(image), "applied": done(put.job, image)}
        for image, held in put.held.items()
    ]
    return {
        "at_s": put.at_s,
        "user": put.user,
        "token_project": put.token_project,
        "body_project": put.body.get("project_id"),
        "value": put.body.get("status"),
        "settings": settings,
        "status": put.status,
        "effects": put.effects,
        "job": put.job,
        "failed": failed(cloud.jobs.get(put.job or "")),
    }


async def issue_token(request: web.Request) -> web.Response:
    """A token for a user and a project, past all faults."""
    world, body = world_of(request), await request.json()
    directory = world.cloud.directory
    user, project = directory.users[body["user"]], directory.projects[body["project"]]
    token = directory.issue(user, project, now=world.now(), settings=world.settings)
    return web.json_response({"token": token.value})


async def _run() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    world, recorder = World(Settings(job_seconds=JOB_SECONDS), SEED), Recorder()
    world.cloud = RecordedCloud(world.clock.now, recorder)
    plant(world.cloud, SEED, world.settings)
    app = application(world)
    app[RECORDER] = recorder
    app.middlewares.insert(0, record)
    app.router.add_route("GET", "/__sim/tape", show_tape)
    app.router.add_route("POST", "/__sim/token", issue_token)
    await serve(app, Address(), stop)


if __name__ == "__main__":
    asyncio.run(_run())
