"""A world in which everything goes wrong around the real reconciler, and the laws it must keep.

Nothing here suspends: a pass is one call of `Coroutine.send`, time is a number, and thousands of
histories take seconds. The laws are asserted where the fact shows: at a PUT, at a status write,
at the end of a pass.
"""

import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fakes import (
    FAITHFUL,
    IMAGES,
    KEY,
    START,
    Clock,
    FakeCloud,
    FakeCredentials,
    FakeKube,
    Fate,
    Seen,
    new_object,
    ready_of,
    spec,
)
from image_share_operator.api.errors import (
    ImagesRefusedError,
    KubeError,
    OutcomeUnknownError,
    RetryableError,
    TerminalError,
    ThrottledError,
)
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    RECONCILE_AT,
    Decision,
    DeletionPolicy,
    Desired,
    JobState,
    Membership,
)
from image_share_operator.cloud.sessions import classify_failure
from image_share_operator.controller.object_store import CachedObject, ObjectStore
from image_share_operator.controller.reconciler import Reconciler
from image_share_operator.flowcontrol import backoff
from image_share_operator.planning.requeue import Policy

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEVER = timedelta(days=3650)
STORM = 5_000
"""Passes in one stretch of time that are a loop for certain: ten times the budget of an hour."""


class Killed(BaseException):
    """The process is gone, at this very await."""


LAG = timedelta(seconds=60)
FAIL = JobState.FAIL
HARMLESS: Mapping[str, Fate] = {
    "succeeds": FAITHFUL,
    "succeeds at once": Fate(takes=timedelta()),
    "succeeds slowly": Fate(takes=timedelta(seconds=100)),
    "shows after 5 s": Fate(lag=timedelta(seconds=5)),
    "shows after 60 s": Fate(lag=LAG),
    "has an odd status for a minute": Fate(takes=MINUTE, odd="WAITING"),
    "is taken, its answer is lost": Fate(lost=True),
    "is taken, its answer is lost, it takes 40 s": Fate(lost=True, takes=timedelta(seconds=40)),
}
HARMFUL: Mapping[str, Fate] = {
    "fails, naming an image, the others change": Fate(state=FAIL, named=1, applied=-1),
    "fails, naming an image, nothing changes": Fate(state=FAIL, named=1, applied=0),
    "fails, naming two images, nothing changes": Fate(state=FAIL, named=2, applied=0),
    "fails, naming none, nothing changes": Fate(state=FAIL, applied=0),
    "fails, naming none, one changes": Fate(state=FAIL, applied=1),
    "fails, but everything changes": Fate(state=FAIL),
    "fails, but everything changes after 30 s": Fate(state=FAIL, lag=timedelta(seconds=30)),
    "fails, naming a foreign image": Fate(state=FAIL, foreign=True, applied=0),
    "fails in a way that may pass": Fate(state=FAIL, code="IMG.0113", applied=0),
    "fails as a whole": Fate(state=FAIL, code="IMG.0026", applied=0),
    "fails with a code of the vault": Fate(state=FAIL, code="IMG.0184", applied=0),
    "fails with an unknown code": Fate(state=FAIL, code="IMG.9999", applied=0),
    "succeeds, but nothing changes": Fate(applied=0),
    "succeeds, but one does not change": Fate(applied=-1),
    "succeeds, naming a failed image": Fate(named=1, applied=-1),
    "succeeds, naming a foreign image": Fate(foreign=True),
    "never ends": Fate(takes=NEVER),
    "never ends, with an odd status": Fate(takes=NEVER, odd="WAITING"),
    "is forgotten, everything changes": Fate(forgotten=True),
    "is forgotten, nothing changes": Fate(forgotten=True, applied=0),
    "is taken, its answer is lost, it fails": Fate(lost=True, state=FAIL, applied=0),
    "is taken, its answer is lost, it is slow": Fate(lost=True, takes=MINUTE),
}
FATES = {**HARMLESS, **HARMFUL}

PASSING_ERRORS: Mapping[str, Exception] = {
    "HTTP 500": RetryableError("HTTP 500"),
    "IMG.0060": ThrottledError("HTTP 400 IMG.0060"),
    "429 with Retry-After": ThrottledError("HTTP 429", retry_after=timedelta(seconds=40)),
}
ERRORS: Mapping[str, Exception] = {
    **PASSING_ERRORS,
    "403": TerminalError("HTTP 403 IMG.0026", reason=Reason.PERMISSION_DENIED),
    "401": TerminalError("HTTP 401", reason=Reason.CREDENTIALS_INVALID),
    "lost": OutcomeUnknownError("connection reset"),
}
REFUSED = ImagesRefusedError("HTTP 400 IMG.0027")


Spec = tuple[str, int]
"""Whose it is (the uid), and its generation."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one generation asks for, and since when."""

    desired: Desired
    deleting: bool
    since: int

    @property
    def decision(self) -> Decision:
        return Decision.REJECT if self.deleting else self.desired.decision


class World:
    """One object, its cloud, its cluster, its operator, and everything that may befall them.

    Attributes:
        asked: what each generation of each object asks for.
        seen: the latest look at each image: (when in the order of things, what).
        sent: accepted PUTs: (when in the order of things, job, decision, images).
        due: of the next pass; ``None`` for none without a change.
        worked: specs that the pass under way may work for.
        interrupts: what happens at the n-th await from now.
        hands: whether anyone but the operator may touch the memberships, or its memory.
    """

    def __init__(self, wanted: Mapping[str, Any] | None = None, *, limit: int = 3) -> None:
        self.order = 0
        self.clock = Clock()
        self.policy = Policy(batch_images=limit)
        self.cloud = FakeCloud(self.clock)
        self.kube = FakeKube(new_object(wanted or spec(IMAGES[:2])))
        self.credentials = FakeCredentials()
        self.asked: dict[Spec, Asked] = {}
        self.seen: dict[str, tuple[int, Membership]] = {}
        self.sent: list[tuple[int, str, Decision, tuple[str, ...]]] = []
        self.spec_of: dict[str, Spec] = {}
        self.worked: set[Spec] = set()
        self.interrupts: dict[int, Callable[[], None]] = {}
        self.hands = True
        self.delivered = 0
        self.passes = self.failures = self.accepted = self.tried = 0
        self.due: datetime | None = None
        for part in (self.cloud, self.kube, self.credentials):
            part.await_point = self._at_await
        self.cloud.on_put, self.cloud.on_look = self._check_put, self._note_look
        self.kube.on_write, self.kube.on_release = self._check_write, self._check_release
        self._note_spec()
        self.restart()

    def share(self, images: Sequence[str], membership: Membership = Membership.PENDING) -> None:
        for image in images:
            self.cloud.set_by_hand(image, membership)

    # ---------------------------------------------------------------- what befalls the object

    def edit(self, *, deliver: bool = True, **changes: Any) -> None:
        """Change the spec; the watch shows it now, or when `deliver` is called."""
        merged = {**self.kube.body["spec"], **changes}
        if merged == self.kube.body["spec"] or self.kube.gone:
            return
        self.kube.changed(spec=merged)
        self._note_spec()
        if deliver:
            self.deliver()

    def annotate(self, value: str) -> None:
        """Ask for a pass by annotation."""
        if self.kube.gone:
            return
        self.kube.changed(metadata={"annotations": {RECONCILE_AT: value}})
        self.deliver()

    def delete(self) -> None:
        """As `kubectl delete` does."""
        if self.kube.gone:
            return
        if self.kube.body["metadata"].get("finalizers"):
            self.kube.changed(
                metadata={"deletionTimestamp": START.isoformat(), "generation": 1},
            )
            self._note_spec()
        else:
            self.kube.remove()
        self.deliver()

    def replace(self, *, deliver: bool = True, **changes: Any) -> None:
        """Delete it, if it can go at once, and create another one of its name."""
        if not self.kube.gone:
            if self.kube.body["metadata"].get("finalizers"):
                return
            self.kube.remove()
        self.kube.replaced({**self.kube.body["spec"], **changes})
        self._note_spec()
        if deliver:
            self.deliver()

    def deliver(self, count: int | None = None) -> None:
        """Show the operator what it has not been shown yet, in order."""
        upto = len(self.kube.watch) if count is None else self.delivered + count
        for event in self.kube.watch[self.delivered : upto]:
            self._take(event)
        self.delivered = min(upto, len(self.kube.watch))

    def deliver_stale(self, back: int) -> None:
        """Show an older event once more, as a list does; of what is gone there is none."""
        if self.store.get(KEY) is not None:
            self._take(self.kube.watch[max(0, self.delivered - 1 - back)])

    def _take(self, event: Seen) -> None:
        """As `ingest.apply_event` does."""
        if event.deleted:
            self.store.forget(KEY, event.body["metadata"]["uid"])
            if self.store.get(KEY) is None:
                self.due = None
        elif self.store.observe(event.body) is not None:
            self.due = self.clock.at
        self._note_worked()

    def _note_worked(self) -> None:
        entry = self.store.get(KEY)
        if entry is not None:
            self.worked.add((entry.uid, entry.generation))

    def restart(self) -> None:
        """Lose everything that is only in memory, then list."""
        self.store = ObjectStore()
        self.reconciler = Reconciler(
            store=self.store,
            cloud=self.cloud,
            credentials=self.credentials,
            kube=self.kube,
            emit=lambda _: None,
            classify_failure=classify_failure,
            now=self.clock.now,
            policy=self.policy,
            rng=random.Random(self.order),  # noqa: S311 - repeatable jitter
        )
        self.interrupts.clear()
        self.failures = 0
        self.delivered = len(self.kube.watch)
        self.due = self.clock.at
        if not self.kube.gone:
            self.store.observe(self.kube.body)

    def kill_at(self, awaits: int) -> None:
        """`kill -9` at the n-th await from now."""
        self.interrupts[awaits] = self._die

    def at_await(self, awaits: int, happens: Callable[[], None]) -> None:
        self.interrupts[awaits] = happens

    def _die(self) -> None:
        raise Killed

    def _at_await(self) -> None:
        coming = {left - 1: what for left, what in self.interrupts.items()}
        now = coming.pop(0, None)
        self.interrupts = coming
        if now is not None:
            now()

    # ---------------------------------------------------------------- time

    def advance(self, span: timedelta) -> int:
        """Advance the clock and run all reconciles that are due; return their number."""
        end, before = self.clock.at + span, self.passes
        while self.due is not None and self.due <= end:
            self.clock.at = max(self.clock.at, self.due)
            self.step()
            assert self.passes - before < STORM, "the operator goes round in circles"
        self.clock.at = end
        return self.passes - before

    def step(self) -> None:
        """One pass, with what the queue and the workers add to it."""
        self.due = None
        self.passes += 1
        self.accepted = self.tried = 0
        self.worked.clear()
        self._note_worked()
        began = self.store.get(KEY)
        try:
            requeue_after = _through(self.reconciler.reconcile(KEY))
        except Killed:
            self.restart()
            return
        except KubeError:
            self.failures += 1
            requeue_after = backoff.exponential(self.failures, jitter=0.5)
        else:
            self.failures = 0
            self._check_turn(began, requeue_after)
        self._check_end(requeue_after)
        if requeue_after is not None:
            wish = self.clock.at + requeue_after
            due: datetime | None = self.due  # an edit during the pass may have set it
            self.due = wish if due is None else min(due, wish)

    def calm(self) -> None:
        """Faults stop: from now on the cloud is faithful and everyone is reachable."""
        self.cloud.usual, self.cloud.down, self.cloud.refusals = FAITHFUL, None, {}
        self.cloud.fates.clear()
        self.cloud.fails.clear()
        self.cloud.spoiled.clear()
        self.cloud.end_stuck_jobs()
        self.kube.fails.clear()
        self.kube.lost = 0
        self.interrupts.clear()
        self.deliver()

    # ---------------------------------------------------------------- what can be seen

    @property
    def generation(self) -> int:
        return int(self.kube.body["metadata"]["generation"])

    @property
    def now_asked(self) -> Asked:
        return self._asked(self.generation)

    def _asked(self, generation: int) -> Asked:
        return self.asked[self.kube.uid, generation]

    @property
    def status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.kube.body["status"]
        return status

    @property
    def ready(self) -> Mapping[str, Any]:
        return ready_of(self.kube.body)

    # ---------------------------------------------------------------- the laws

    def _tick(self) -> int:
        self.order += 1
        return self.order

    def _note_spec(self) -> None:
        metadata = self.kube.body["metadata"]
        self.asked[self.kube.uid, self.generation] = Asked(
            desired=Desired.parse(self.kube.body["spec"], self.generation),
            deleting="deletionTimestamp" in metadata,
            since=self._tick(),
        )

    def _note_look(self, seen: Mapping[str, Membership]) -> None:
        at = self._tick()
        self.seen |= {image: (at, membership) for image, membership in seen.items()}

    def _check_put(self, job: str | None, decision: Decision, images: tuple[str, ...]) -> None:
        """A PUT asks only for what a spec in hand asks for, and is the only one of its pass."""
        self.tried += 1
        assert self.tried <= self._tries_per_pass(), "one pass sends for ever"
        assert 0 < len(images) <= self.policy.batch_images
        assert len(set(images)) == len(images)
        self._note_worked()
        possible = [self.asked[spec] for spec in self.worked]
        assert any(
            set(images) <= set(asked.desired.images)
            and decision is asked.decision
            and not asked.desired.suspend
            for asked in possible
        ), "a PUT carries what the spec in hand does not ask for"
        if job is not None:
            self.accepted += 1
            self.sent.append((self._tick(), job, decision, images))
        assert self.accepted <= 1, "two batches were sent in one pass"

    def _tries_per_pass(self) -> int:
        """One accepted batch, and each image may be a failing one that bisection finds."""
        limit = self.policy.batch_images
        images = max(len(asked.desired.images) for asked in self.asked.values())
        return 1 + (images + 1) * limit.bit_length()

    def _check_write(self, status: Mapping[str, Any]) -> None:
        """A status reports something new, and nothing that was not observed."""
        assert status != self.status or self.kube.unanswered, "the same status is written again"
        generation = status["observedGeneration"]
        assert generation <= self.generation
        job = status.get("job")
        if job is not None:
            asked, batch = self._asked(job["generation"]), self.cloud.jobs[job["id"]]
            assert set(batch.images) <= set(asked.desired.images)
            assert batch.decision is asked.decision
            assert batch.decision.value == job["decision"]
        ready = ready_of({"status": status})
        assert ready.get("observedGeneration", generation) == generation
        if ready.get("status") == "True":
            self._check_ready(self._asked(generation))

    def _check_ready(self, asked: Asked) -> None:
        """Every image of this very spec was seen as wanted, after the spec was written.

        A suspended resource may stand on an older look, unless something was sent since.
        """
        assert not asked.deleting
        wanted = asked.decision.wanted
        for image in asked.desired.images:
            at, membership = self.seen[image]
            assert membership is wanted, "Ready, but not seen"
            if not self.hands:
                assert self.cloud.outstanding(image) is wanted, "Ready, and it will not stay so"
            if not asked.desired.suspend:
                assert at > asked.since, "Ready by a look that is older than the spec"
                continue
            later = [put for put in self.sent if put[0] > at and image in put[3]]
            assert all(put[2] is asked.decision for put in later), "Ready, but undone since"

    def _check_release(self) -> None:
        """What goes with `deletionPolicy: Reject` was seen rejected, or not shared any more."""
        assert any(self._may_go(self.asked[spec]) for spec in self.worked)

    def _may_go(self, asked: Asked) -> bool:
        if not asked.deleting or asked.desired.deletion_policy is DeletionPolicy.RETAIN:
            return True
        seen = [self.seen.get(image, (0, Membership.UNKNOWN)) for image in asked.desired.images]
        gone = (Membership.REJECTED, Membership.NOT_SHARED)
        return all(at > asked.since and membership in gone for at, membership in seen)

    def _check_turn(self, began: CachedObject | None, requeue_after: timedelta | None) -> None:
        """What was asked during the pass, or by an object that took the place, is served next."""
        entry = self.store.get(KEY)
        if began is None or entry is None or entry.inputs == began.inputs:
            return
        if entry.is_reported or entry.runtime.generation == entry.generation:
            return  # it was asked before the pass read what to work for
        due = self.due
        assert requeue_after == timedelta() or (due is not None and due <= self.clock.at), (
            "it waits"
        )

    def _check_end(self, requeue_after: timedelta | None) -> None:
        """A pass comes back while something is to be done."""
        entry = self.store.get(KEY)
        if entry is None or self.kube.gone or entry.uid != self.kube.uid:
            return
        if self.accepted:
            job = entry.known.job
            if job is not None:
                self.spec_of[job.id] = entry.uid, job.generation
            if entry.known.unanswered is not None:
                self.spec_of[self.sent[-1][1]] = entry.uid, entry.known.observed_generation
        assert requeue_after is None or requeue_after >= timedelta(), "a delay is negative"
        if requeue_after is not None or self.due is not None:
            return
        assert not entry.unsaved, "a status is left unwritten"
        asked = self._asked(entry.generation).desired
        if not asked.suspend:
            assert asked.interval == timedelta(), "no check is scheduled"
            assert self.ready["status"] == "True", (
                "something is to be done, and nothing is scheduled"
            )
        assert self.status["observedGeneration"] == entry.generation

    def check_truth(self) -> None:
        """After the calm: the status says what is, and the cloud holds what the spec says."""
        asked = self.now_asked
        if self.kube.gone:
            return
        if asked.deleting:
            assert asked.desired.suspend, "the finalizer is not removed"
            return
        assert self.status["observedGeneration"] == self.generation
        if asked.desired.suspend:
            return
        wanted = asked.decision.wanted
        shared = [image for image in asked.desired.images if image in self.cloud.shares]
        assert {self.cloud.outstanding(image) for image in shared} <= {wanted}
        everything = len(shared) == len(asked.desired.images)
        assert (self.ready["status"] == "True") is everything, self.ready
        assert (self.ready["reason"] == "NotShared") is not everything, self.ready


def _through(work: Coroutine[Any, Any, timedelta | None]) -> timedelta | None:
    """Run to the end what never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        result: timedelta | None = end.value
        return result
    raise AssertionError("a fake suspended")
