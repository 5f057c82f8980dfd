"""One run from the start to the verdict."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from chaos import golden, needs, rights, schedule, truth
from chaos.history import History
from chaos.marks import shows_secret
from chaos.model import CREDENTIAL_REASONS, Json, Parameters, Target
from chaos.monkey import Monkey, Tell
from chaos.population import BAD_SECRETS
from chaos.tape import Tape, read
from chaos.watch import RESOURCES, Watch
from chaos.world import World

SETTLE_WITHIN_S = 180.0
"""From the last edit; a last resort. The longest waits: the operator checks an image for drift
after 66 s (an interval of 1 m, spread by a tenth), believes a job that reported success for 60 s,
and reads a Secret every 2 s here."""
PATIENT_S = 60.0
"""How long users wait for a retry: its backoff grows up to 5 min after errors in a row, and images
that failed during a deletion are sent again after half an hour."""
RETRIED = frozenset({"CloudUnavailable", "Throttled", "Rejecting"})
LOOK_EVERY_S = 1.0
NUDGE_EVERY_S = 15.0
RECONCILE_AT = "ims.otc.dev/reconcile-at"
SPEC_REASONS = CREDENTIAL_REASONS | {"LimitExceeded"}
"""Reasons of Stalled that no retry ends."""
EVENTS = "/apis/events.k8s.io/v1/events"
PAGE = 500
NEXT_ENTRY = re.compile(r"\n(?=\d{4}-\d\d-\d\dT)")
"""Between two entries of the log; one with a traceback has several lines."""
FAULTS_IN_LOG = ("bug of the operator", "Traceback")
UVLOOP_CLOSED = ("Fatal error on SSL protocol", "the handler is closed")
"""What uvloop logs about a connection that is closed during its TLS handshake, as a process does
that receives SIGTERM just after its start. No bug of the operator."""


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What came of a run.

    Attributes:
        complaints: by check, what is wrong; all empty when all is well.
        figures: for people, in the order of reading.
        kinds: how often each of `chaos.kinds.EVERY` happened.
    """

    seed: int
    kinds: Counter[str]
    complaints: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    figures: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.complaints.values())


def run(seed: int, parameters: Parameters, directory: Path, tell: Tell) -> Verdict:
    """Make chaos, let it settle, judge. Logs of the operator stay in ``directory``."""
    plan = schedule.make(seed, parameters)
    history = History(logins=plan.logins)
    with World(plan, directory) as world, Watch(world.client(), history) as watch:
        monkey = Monkey(schedule=plan, world=world, history=history, tell=tell)
        monkey.run()
        monkey.end()
        settled = _Settling(monkey).wait(tell)
        for operator in world.operators:
            operator.terminate()
        recorded = world.sim.recording()
        tape = read(recorded)
        locked = _locked(_objects(world))
        shown = _secrets_shown(world, history)
        log = [entry for log in world.logs for entry in NEXT_ENTRY.split(log)]
        verdict = Verdict(
            seed=seed,
            kinds=monkey.kinds,
            complaints={"1, 2 truth and cloud": settled.complaints},
        )
        verdict.complaints |= _checks(tape, history, log, [*shown, *locked])
        verdict.complaints["7 orderly stop"] = monkey.bad_stops
        verdict.complaints["8 selections"] = [
            *golden.complaints(tape, history, monkey.gallery),
            *golden.kept(tape, history, monkey.gallery, _members(world), time.monotonic()),
        ]
        keep_recording(directory, recorded, history)
        verdict.figures = _figures(monkey, settled, tape, log, watch.events)
    return verdict


@dataclass(slots=True)
class _Settling:
    """Waits until nothing is to be complained of."""

    monkey: Monkey
    complaints: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    _nudged: dict[Target, float] = field(default_factory=dict[Target, float])

    def wait(self, tell: Tell) -> "_Settling":
        """Look until two looks in a row find nothing wrong, or the bound is reached."""
        world, history = self.monkey.world, self.monkey.history
        started, quiet = time.monotonic(), False
        while True:
            self.seconds = time.monotonic() - started
            bodies, records = _objects(world), list(history.records.values())
            self.complaints = truth.complaints(
                records, bodies, _members(world), self.monkey.gallery, time.monotonic()
            )
            if (not self.complaints and quiet) or self.seconds > SETTLE_WITHIN_S:
                return self
            quiet = not self.complaints
            tell(f"{self.seconds:5.0f} s after the last edit: {len(self.complaints)} differences")
            for target, body in bodies.items():
                self._nudge(target, body)
            time.sleep(LOOK_EVERY_S)

    def _nudge(self, target: Target, body: Json) -> None:
        """Do what the status asks a person for: the cloud works again, so try again at once."""
        latest = self._nudged.get(target, float("-inf"))
        said = _wants_a_hand(body, self.seconds)
        spec = self.monkey.history.records[target].latest.spec
        if said is None or spec.secret in BAD_SECRETS or time.monotonic() < latest + NUDGE_EVERY_S:
            return
        self._nudged[target] = time.monotonic()
        self.monkey.history.nudges.append((time.monotonic(), target))
        if "spec.timeout" in said:
            self.monkey.edit(target, replace(spec, timeout=f"{int(spec.timeout[:-1]) + 1}s"))
        else:
            asked = {RECONCILE_AT: f"{time.monotonic()}"}
            self.monkey.world.patch(target, {"metadata": {"annotations": asked}})

    @property
    def nudged(self) -> int:
        """How many objects had to be asked to try again."""
        return len(self._nudged)


def _wants_a_hand(body: Json, waited_s: float) -> str | None:
    """What the status says, if it asks for a person, or the next retry may be minutes away."""
    late = RETRIED if waited_s > PATIENT_S else frozenset[str]()
    for row in body.get("status", {}).get("conditions", ()):
        if row["type"] == "Stalled" and row["reason"] not in SPEC_REASONS:
            return str(row["message"])
        if row["type"] == "Ready" and row["reason"] in {"PartiallyFailed", *late}:
            return str(row["message"])
    return None


def _objects(world: World) -> dict[Target, Json]:
    listed = world.call("GET", RESOURCES) or {}
    return {
        Target(body["metadata"]["namespace"], body["metadata"]["name"]): body
        for body in listed["items"]
    }


def keep_recording(directory: Path, recorded: Json, history: History) -> None:
    """Write what the checks read, for a person who looks into a complaint."""
    told = {name: getattr(history, name) for name in ("kills", "stops", "lags", "hands", "nudges")}
    windows = {name: getattr(history, name) for name in ("outages", "freezes", "offline")}
    kept = {
        **told,
        **{name: [(one.start_s, one.end_s) for one in spans] for name, spans in windows.items()},
        "records": [asdict(record) for record in history.records.values()],
        "tape": recorded,
    }
    (directory / "recording.json").write_text(json.dumps(kept, default=_plain))


def _plain(value: object) -> object:
    """What JSON has no form for: sets and the places of objects."""
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def _members(world: World) -> dict[tuple[str, str], str]:
    """Memberships by image and project, lags aside."""
    return {(row["image"], row["project"]): row["status"] for row in world.sim.members()}


def _checks(
    tape: Tape, history: History, log: list[str], secrets: list[str]
) -> dict[str, list[str]]:
    extra = needs.sort_extra(tape, history)
    killed = extra.puts["kill"]
    if killed > len(history.kills):
        extra.complaints.append(f"{killed} extra PUTs by {len(history.kills)} kills")
    return {
        "3 right values": rights.wrong_values(tape, history),
        "4 own project and token": rights.foreign(tape, history),
        "5 no extra PUT": [*extra.complaints, *needs.unpaced(tape, history)],
        "6 log and secrets": [
            *filter(_tells_of_bug, log),
            *(f"a secret in the log: {entry[:40]}…" for entry in log if shows_secret(entry)),
            *secrets,
        ],
    }


def _tells_of_bug(entry: str) -> bool:
    closed = all(words in entry for words in UVLOOP_CLOSED)
    return not closed and any(words in entry for words in FAULTS_IN_LOG)


def _secrets_shown(world: World, history: History) -> list[str]:
    """Where a secret is to be seen: statuses at any time, objects and Events at the end."""
    found = list(history.secrets_seen)
    for path in (RESOURCES, EVENTS):
        query = f"?limit={PAGE}"
        while query:
            listed = world.call("GET", path + query) or {}
            found += [path for row in listed["items"] if shows_secret(str(row))]
            more = listed["metadata"].get("continue")
            query = f"?limit={PAGE}&continue={more}" if more else ""
    return [f"a secret in {place}" for place in found]


def _locked(bodies: Mapping[Target, Json]) -> list[str]:
    """Objects whose account is locked: the operator tried bad credentials too often."""
    return [
        f"{target}: its account is locked"
        for target, body in bodies.items()
        for row in body.get("status", {}).get("conditions", ())
        if row["reason"] == "AccountLocked"
    ]


def _figures(
    monkey: Monkey, settled: _Settling, tape: Tape, log: list[str], events: int
) -> dict[str, str]:
    counts, history = monkey.counts, monkey.history
    extra = needs.sort_extra(tape, history)
    taken = [put for put in tape.puts if put.job]
    live = sum(not record.deleted for record in history.records.values())
    return {
        "chaos": f"{monkey.schedule.parameters.seconds:.0f} s, at most "
        f"{monkey.latest_s:.1f} s behind the schedule",
        "objects": f"{counts['Create']} created, {counts['Delete']} deleted, {live} live",
        "spec edits": str(counts["Edit"]),
        "Secret rotations": str(counts["Rotate"]),
        "changes by other clients": f"{counts['Drift']} answers, {counts['Withdraw']} withdrawals, "
        f"{counts['Share']} shares",
        "owners": f"{counts['Publish']} builds, {counts['Rename']} renames, "
        f"{counts['Deactivate']} deactivations",
        "fault rules": f"{sum(monkey.faults.values())} of {len(monkey.faults)} kinds, "
        f"met by {tape.faulty_calls} calls",
        "cloud away": f"{counts['Freeze']} times frozen, {counts['Offline']} times offline",
        "operator": f"{counts['Kill']} kills, {counts['Terminate']} stops of at most "
        f"{monkey.slowest_stop_s:.1f} s",
        "API server restarts": str(counts["RestartApiServer"]),
        "PUTs": f"{len(tape.puts)}, {len(taken)} taken, "
        f"{sum(len(put.images) for put in taken)} images in them",
        "PUTs that changed nothing": _by_why(extra.puts),
        "needless images in PUTs": _by_why(extra.images),
        "other calls": str(sum(use.count for use in tape.uses) - len(tape.puts)),
        "object versions seen": str(events),
        "asked to try again": f"{settled.nudged} Stalled objects",
        "errors in the log": str(sum(" ERROR " in entry for entry in log)),
        "settled": f"{settled.seconds:.0f} s after the last edit",
    }


def _by_why(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {why}" for why, number in sorted(counts.items())) or "none"
