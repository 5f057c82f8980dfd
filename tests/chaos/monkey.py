"""Does what the schedule says, in its order and as near to its times as the machine can."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from chaos.golden import Gallery, Image
from chaos.history import History, Record, Version, Window
from chaos.kinds import kind_of
from chaos.model import (
    ISSUED,
    Action,
    ClearFaults,
    CloudFault,
    CloudSettings,
    Content,
    Create,
    Deactivate,
    Delete,
    Drift,
    Edit,
    ExpireTokens,
    Freeze,
    Json,
    Kill,
    Offline,
    Publish,
    Reactivate,
    Rename,
    RestartApiServer,
    Rotate,
    Schedule,
    Share,
    Spec,
    Target,
    Terminate,
    Withdraw,
)
from chaos.world import World
from envtest import Operator

COME_BACK_S = 20.0
"""After an outage: how long the operator may need to know again what it missed. Its watch starts
again after up to 5 s, and lists all objects."""
FINALIZER = "ims.otc.dev/reject"
FOREIGN_OWNER = "f" * 32
"""Shares images with the names of a line, which no selector may select."""

Tell = Callable[[str], None]


@dataclass(slots=True)
class Monkey:
    """Carries a schedule out and keeps the history.

    Attributes:
        tell: takes a line of progress.
        counts: actions done, by their class's name.
        kinds: actions done, by `chaos.kinds.kind_of`.
        secrets: the content of each Secret now.
        faults: fault rules posted, by kind.
    """

    schedule: Schedule
    world: World
    history: History
    tell: Tell
    counts: Counter[str] = field(default_factory=Counter[str])
    kinds: Counter[str] = field(default_factory=Counter[str])
    secrets: dict[tuple[str, str], Content] = field(default_factory=dict[tuple[str, str], Content])
    faults: Counter[str] = field(default_factory=Counter[str])
    latest_s: float = 0.0
    """By how much the machine was late for an action, at most."""
    slowest_stop_s: float = 0.0
    """From SIGTERM to the end of the operator, at most."""
    gallery: Gallery = field(default_factory=Gallery)
    """The images of all lines."""
    bad_stops: list[str] = field(default_factory=list[str])
    """Stops by SIGTERM that did not end with exit code 0."""
    _breaker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _broken: list[Future[None]] = field(default_factory=list[Future[None]])

    def run(self) -> None:
        """Do all timed actions."""
        started, told = time.monotonic(), 0.0
        for position, timed in enumerate(self.schedule.actions):
            wait = started + timed.at_s - time.monotonic()
            time.sleep(max(wait, 0.0))
            self.latest_s = max(self.latest_s, -wait)
            self.do(timed.action)
            if time.monotonic() > told + 1.0:
                told = time.monotonic()
                self._progress(told - started, position)

    def end(self) -> None:
        """End all faults, then make the last edits."""
        for broken in self._broken:
            broken.result()
        self._breaker.shutdown()
        self.world.thaw()
        self.world.sim.resume()
        self.world.sim.clear_faults()
        self.world.sim.settings(visibility_lag_seconds=0.0, share_lag_seconds=0.0)
        self.world.restart_ended()
        for action in self.schedule.end:
            self.do(action)

    def do(self, action: Action) -> None:
        """Carry one action out."""
        self.counts[type(action).__name__] += 1
        self.kinds[kind_of(action)] += 1
        match action:
            case Create() | Edit() | Delete():
                self._object(action)
            case Drift() | Withdraw() | Share():
                self._by_hand(action)
            case Publish() | Rename() | Deactivate() | Reactivate():
                self._build(action)
            case Rotate(namespace=namespace, secret=secret, content=content):
                self.secrets[namespace, secret] = content
                self.world.write_credentials(namespace, secret, content)
            case CloudFault() | ClearFaults() | CloudSettings() | ExpireTokens():
                self._cloud(action)
            case Freeze() | Offline():
                self._stand_still(action)
            case Kill() | Terminate() | RestartApiServer():
                self._broken.append(self._breaker.submit(self._break, action))
            case _:
                assert_never(action)

    def _object(self, action: Create | Edit | Delete) -> None:
        match action:
            case Create(target=target, spec=spec, images=images):
                self._plant(images, spec)
                self._create(target, spec)
            case Edit(target=target, spec=spec, images=images):
                self._plant(images, spec)
                self.edit(target, spec)
            case Delete(target=target):
                self._delete(target)

    def _plant(self, images: tuple[tuple[str, str | None], ...], spec: Spec) -> None:
        self.world.add_images(images, spec.project)

    def _create(self, target: Target, spec: Spec) -> None:
        manifest = {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "spec": self.world.manifest(target, spec),
        }
        sent_s = time.monotonic()
        self.world.call("POST", self.world.path(target).rpartition("/")[0], manifest)
        self._version(target, Version(generation=1, spec=spec, sent_s=sent_s, done_s=_now()))

    def edit(self, target: Target, spec: Spec) -> None:
        """Change a spec."""
        sent_s = time.monotonic()
        body = self.world.patch(target, {"spec": self.world.manifest(target, spec)})
        record = self.history.records[target]
        if body is None:
            assert record.deleted, f"{target} is gone although no user deleted it"
            return
        edited = Version(
            generation=body["metadata"]["generation"],
            spec=spec,
            sent_s=sent_s,
            done_s=_now(),
            leaving=record.deleted,
        )
        self._version(target, edited)

    def _delete(self, target: Target) -> None:
        record = self.history.records[target]
        sent_s = time.monotonic()
        body = self.world.call("DELETE", self.world.path(target))
        record.deleted, record.deleted_s = True, sent_s
        metadata: Json = (body or {}).get("metadata", {})
        last = record.latest
        held = FINALIZER in metadata.get("finalizers", ())
        # An edit to Retain may have come so late that the finalizer is still there.
        record.held = held and last.spec.deletion_policy == "Reject"
        if record.held:
            generation = metadata["generation"]
            self._version(
                target,
                Version(
                    generation=generation,
                    spec=last.spec,
                    sent_s=sent_s,
                    done_s=_now(),
                    leaving=True,
                ),
            )

    def _version(self, target: Target, version: Version) -> None:
        record = self.history.records.setdefault(target, Record(target=target))
        record.versions.append(version)

    def _by_hand(self, action: Drift | Withdraw | Share) -> None:
        sim, at, start_s = self.world.sim, (action.image, action.project), _now()
        shared = sim.membership(*at) is not None
        match action:
            case Drift(value=value) if shared:
                sim.set_membership(*at, value)
            case Withdraw() if shared:
                sim.withdraw(*at)
            case Share() if not shared:
                sim.set_membership(*at, "pending")
            case _:
                return
        self.history.hands.append((_now(), *at))
        if self.gallery.has(action.image):
            self.gallery.change(start_s, action.image, shared=not isinstance(action, Withdraw))

    def _build(self, action: Publish | Rename | Deactivate | Reactivate) -> None:
        """What owners do with their images; the operator may see it at any time of the call."""
        sim, start_s = self.world.sim, _now()
        match action:
            case Publish():
                built = self._built(action)
                self.gallery.put(start_s, built)
                sim.publish(
                    built.name,
                    shared_with=[built.project],
                    owner=built.owner,
                    created_at=built.created_at,
                    id=built.id,
                )
            case Rename(image=image, name=name):
                sim.rename(image, name)
                self.gallery.change(start_s, image, name=name)
            case Deactivate(image=image):
                sim.deactivate(image)
                self.gallery.change(start_s, image, status="deactivated")
            case Reactivate(image=image):
                sim.reactivate(image)
                self.gallery.change(start_s, image, status="active")

    def _built(self, action: Publish) -> Image:
        """The image that an owner shares now."""
        now = datetime.now(UTC)
        created_at = (now - timedelta(seconds=action.age_s)).replace(microsecond=0)
        return Image(
            id=action.image,
            line=action.line,
            project=action.project,
            owner=FOREIGN_OWNER if action.foreign else self.world.sim.owner_project_id,
            name=action.name,
            created_at=created_at,
            created_s=_now() - (now - created_at).total_seconds(),
        )

    def _cloud(self, action: CloudFault | ClearFaults | CloudSettings | ExpireTokens) -> None:
        sim = self.world.sim
        match action:
            case CloudFault(kind=kind, rule=rule):
                self.faults[kind] += 1
                sim.fault(rule["route"], **_fault(rule))
            case ClearFaults():
                sim.clear_faults()
            case CloudSettings(changes=changes):
                sim.settings(**changes)
                if "visibility_lag_seconds" in changes:
                    self.history.lags.append((_now(), float(changes["visibility_lag_seconds"])))
            case ExpireTokens():
                sim.expire_tokens()
                self.world.end_keys()
                for login in self.schedule.logins:
                    place = login.namespace, login.name
                    good = self.secrets.get(place, Content.GOOD) is Content.GOOD
                    if login.kind in ISSUED and good:
                        self.world.write_credentials(*place, Content.GOOD)

    def _stand_still(self, action: Freeze | Offline) -> None:
        match action:
            case Freeze(seconds=seconds):
                start_s = time.monotonic()
                self.world.freeze(seconds)
                self.history.freezes.append(Window(start_s, start_s + seconds))
            case Offline(seconds=seconds):
                start_s = time.monotonic()
                self.world.sim.pause(seconds)
                self.history.offline.append(Window(start_s, start_s + seconds))

    def _break(self, action: Kill | Terminate | RestartApiServer) -> None:
        """Runs in a thread of its own, one at a time: users go on meanwhile."""
        history, world, start_s = self.history, self.world, time.monotonic()
        world.restart_ended()
        match action:
            case Kill():
                operator = world.leader()
                operator.kill()
                history.kills.append(_now())
                operator.start()
            case Terminate():
                operator = world.leader()
                history.stops.append(start_s)
                self._terminate(operator)
                operator.start()
            case RestartApiServer():
                world.control_plane.restart_apiserver()
        history.outages.append(Window(start_s, _now() + COME_BACK_S))

    def _terminate(self, operator: Operator) -> None:
        self.slowest_stop_s = max(self.slowest_stop_s, operator.terminate())
        if operator.ended_with != 0:
            self.bad_stops.append(f"exit code {operator.ended_with} after SIGTERM")

    def _progress(self, passed_s: float, position: int) -> None:
        live = sum(not record.deleted for record in list(self.history.records.values()))
        self.tell(
            f"{passed_s:5.0f} of {self.schedule.parameters.seconds:.0f} s: "
            f"{position + 1} of {len(self.schedule.actions)} actions, {live} objects, "
            f"{len(self.history.kills)} kills, {len(self.history.stops)} stops, "
            f"{self.counts['RestartApiServer']} API server restarts, "
            f"{sum(self.faults.values())} faults"
        )


def _fault(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as keyword arguments of `Simulator.fault`."""
    return {**{key: rule[key] for key in ("when", "count", "images")}, **rule["do"]}


def _now() -> float:
    return time.monotonic()
