"""The schedule of a run: a pure function of the seed and the parameters. No I/O, no clock."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from chaos.faults import Deck, Menu
from chaos.model import (
    LINE_CHARS,
    Action,
    ClearFaults,
    CloudSettings,
    Content,
    Create,
    Deactivate,
    Delete,
    Drift,
    Edit,
    ExpireTokens,
    Freeze,
    Kill,
    Login,
    Offline,
    Parameters,
    Publish,
    Reactivate,
    Rename,
    RestartApiServer,
    Rotate,
    Schedule,
    SecretKind,
    Share,
    Spec,
    Target,
    Terminate,
    Timed,
    Withdraw,
)
from chaos.population import MIN_AGES_S, NAMESPACES, OLDEST_S, Kind, Life, Population

FIRST_CREATES_PER_S = 20.0
"""What two cores serve while an API server starts now and then (measured: 46 a second)."""
WRONG_PASSWORD_EVERY_S = 900.0
"""Per user: IAM counts failures for so long, and locks after five."""
CALM_SHARE, CALM_S = 0.5, 60.0
"""For the last part of a run, up to 60 s, nothing that takes a minute to settle: no drift (the
interval is a minute), no lasting fault, no connection that breaks, no restart of the operator (its
waits begin again). The run then settles soon."""

EVERY_S = {
    "fault": 1.4,
    "lasting": 1.8,
    "kill": 12.0,
    "terminate": 20.0,
    "api server": 38.0,
    "freeze": 22.0,
    "offline": 27.0,
    "lag": 18.0,
    "unfiltered": 20.0,
    "tokens": 180.0,  # at least 90: the operator stops logging in when tokens die every minute
    "rotation": 6.0,
    "drift": 2.5,
    "withdrawal": 5.0,
    "build": 0.7,
    "clearing": 40.0,
}
"""Seconds between two of a kind, give or take half of it. All faults are dealt in a run of
`chaos.model.SHORTEST_S`."""
BAD_CONTENTS = tuple(content for content in Content if content is not Content.GOOD)

Happening = Callable[[], None]


def make(seed: int, parameters: Parameters) -> Schedule:
    """Draw everything that happens in a run."""
    return _Maker(seed, parameters).made()


class _Maker:
    """Draws one happening after the other, in the order of their times."""

    def __init__(self, seed: int, parameters: Parameters) -> None:
        self._seed = seed
        self._parameters = parameters
        self._rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._people = Population(self._rng)
        self._menu = Menu(self._rng)
        self._contents = Deck(self._rng, BAD_CONTENTS)
        self._later: list[tuple[float, int, Happening]] = []
        self._order = itertools.count()
        self._numbers = itertools.count(1)
        self._now = 0.0
        self._timed: list[Timed] = []
        self._bad: set[Login] = set()
        self._wrong_password: dict[Login, float] = {}
        self._calm_from = parameters.seconds - min(parameters.seconds * CALM_SHARE, CALM_S)

    def made(self) -> Schedule:
        self._start()
        while self._later and self._later[0][0] < self._parameters.seconds:
            self._now, _, happen = heapq.heappop(self._later)
            happen()
        return Schedule(
            seed=self._seed,
            parameters=self._parameters,
            logins=self._people.logins,
            pools=self._people.pools,
            actions=tuple(self._timed),
            end=tuple(self._end()),
        )

    def _start(self) -> None:
        for number in range(self._parameters.objects * 6 // 10):
            self._at(number / FIRST_CREATES_PER_S, self._create)
        streams: dict[str, Happening] = {
            "fault": self._fault,
            "lasting": self._lasting,
            "kill": partial(self._before_calm, Kill()),
            "terminate": partial(self._before_calm, Terminate()),
            "api server": partial(self._do, RestartApiServer()),
            "freeze": lambda: self._do(Freeze(self._between(0.5, 6.0))),
            "offline": lambda: self._before_calm(Offline(self._between(0.5, 7.0))),
            "lag": self._lag,
            "unfiltered": self._unfiltered,
            "tokens": partial(self._do, ExpireTokens()),
            "rotation": self._rotate,
            "drift": self._drift,
            "withdrawal": self._withdraw,
            "build": self._build,
            "clearing": partial(self._do, ClearFaults()),
        }
        for name, happen in streams.items():
            self._stream(EVERY_S[name], happen)
        self._users()
        self._at(self._calm_from, partial(self._do, ClearFaults()))

    def _stream(self, mean_s: float, happen: Happening) -> None:
        """Let something happen again and again, the first time in the first half of the run."""

        def again() -> None:
            happen()
            self._after(0.5 * mean_s, 1.5 * mean_s, again)

        self._after(0.0, min(mean_s, self._parameters.seconds / 2), again)

    def _users(self) -> None:
        """Let users do something, independently of each other."""

        def again() -> None:
            self._use()
            self._at(self._now + self._rng.expovariate(self._parameters.edits_per_s), again)

        self._at(0.0, again)

    def _at(self, at_s: float, happen: Happening) -> None:
        heapq.heappush(self._later, (at_s, next(self._order), happen))

    def _after(self, low_s: float, high_s: float, happen: Happening) -> None:
        self._at(self._now + self._rng.uniform(low_s, high_s), happen)

    def _do(self, action: Action) -> None:
        self._timed.append(Timed(round(self._now, 3), action))

    def _before_calm(self, action: Action) -> None:
        if self._now < self._calm_from:
            self._do(action)

    def _between(self, low: float, high: float) -> float:
        return round(self._rng.uniform(low, high), 1)

    def _use(self) -> None:
        """What users do to objects."""
        lives = self._people.lives
        full = len(lives) >= self._parameters.objects
        what = self._rng.choices(
            (self._create, self._delete, self._edit, self._suspend, self._try_dry),
            (0 if full else 25, 15, 50, 8, 6),
        )[0]
        what()

    def _create(self) -> None:
        number = next(self._numbers)
        target = Target(f"chaos-{self._rng.randrange(NAMESPACES)}", f"web-{number}")
        life, images = self._people.born(target)
        self._people.lives[target] = life
        if life.kind is Kind.SELECTING:
            for _ in range(self._rng.randint(0, 4)):
                self._publish(target)
        self._do(Create(target, life.spec, images))
        self._share_later(images, life.spec.project)

    def _share_later(self, images: tuple[tuple[str, str | None], ...], project: str) -> None:
        for image, membership in images:
            if membership is None and self._rng.random() < 0.7:
                self._after(2.0, 25.0, partial(self._share, image, project))

    def _share(self, image: str, project: str) -> None:
        if self._people.names(image):
            self._do(Share(image, project))

    def _delete(self) -> None:
        target = self._people.some(*Kind)
        if target is not None and self._people.lives[target].spec.submits:
            del self._people.lives[target]
            self._do(Delete(target))

    def _build(self) -> None:
        """The owner of a line publishes, renames, withdraws or deactivates an image."""
        target = self._people.some(Kind.SELECTING)
        if target is None or self._now > self._calm_from:
            return
        life = self._people.lives[target]
        if not life.own or self._rng.random() < 0.45:
            self._publish(target)
            return
        image = self._rng.choice(life.own)
        self._rng.choice((self._retire, self._take_back, self._switch_off))(target, image)

    def _publish(self, target: Target) -> None:
        life = self._people.lives[target]
        selector = life.spec.selector
        assert selector is not None
        line = selector.line
        name = f"{line}-{self._rng.choice('ab')}-{next(self._numbers)}"
        age_s = 0.0 if self._rng.random() < 0.6 else self._between(30.0, OLDEST_S)
        publish = partial(Publish, project=life.spec.project, line=line, name=name, age_s=age_s)
        if self._rng.random() < 0.15:
            self._do(publish(self._people.image_id(), foreign=True))
            return
        image = self._people.line_image(line)
        self._people.lives[target] = replace(life, own=(*life.own, image))
        self._do(publish(image))

    def _retire(self, target: Target, image: str) -> None:
        """Rename an image: out of its line, or into another group of it."""
        del target
        line = image[:LINE_CHARS]
        stays = f"{line}-{self._rng.choice('ab')}-{next(self._numbers)}"
        self._do(Rename(image, self._rng.choice((f"retired-{image}", stays))))
        if self._rng.random() < 0.5:
            self._after(1.0, 20.0, partial(self._before_calm, Rename(image, stays)))

    def _take_back(self, target: Target, image: str) -> None:
        project = self._people.lives[target].spec.project
        self._do(Withdraw(image, project))
        if self._rng.random() < 0.7:
            self._after(1.0, 20.0, partial(self._before_calm, Share(image, project)))

    def _switch_off(self, target: Target, image: str) -> None:
        del target
        self._do(Deactivate(image))
        if self._rng.random() < 0.7:
            self._after(1.0, 20.0, partial(self._before_calm, Reactivate(image)))

    def _edit(self) -> None:
        target = self._people.some(Kind.PLAIN, Kind.OVERLAPPING, Kind.SELECTING)
        if target is None:
            return
        life = self._people.lives[target]
        if life.kind is Kind.SELECTING:
            self._edited(target, replace(life, spec=self._reselected(life)))
            return
        edits = [self._added, self._removed]
        if life.kind is Kind.PLAIN:
            edits += [self._flipped, self._held]
        new, images = self._rng.choice(edits)(life)
        self._edited(target, new, images)

    def _reselected(self, life: Life) -> Spec:
        """The spec with another policy."""
        selector = life.spec.selector
        assert selector is not None
        exclude = self._rng.sample(life.own, min(len(life.own), self._rng.randint(0, 1)))
        changed = replace(
            selector,
            newest=self._rng.randint(1, 3),
            removal=self._rng.choice(("Reject", "Retain")),
            min_age_s=self._rng.choice(MIN_AGES_S),
            limit=self._people.limit(),
            exclude=tuple(exclude),
        )
        return replace(life.spec, selector=changed)

    def _edited(
        self, target: Target, life: Life, images: tuple[tuple[str, str | None], ...] = ()
    ) -> None:
        self._people.lives[target] = life
        self._do(Edit(target, life.spec, images))
        self._share_later(images, life.spec.project)

    def _added(self, life: Life) -> tuple[Life, tuple[tuple[str, str | None], ...]]:
        new = self._people.images(self._rng.randint(1, 3))
        ids = tuple(image for image, _ in new)
        spec = replace(life.spec, images=(*life.spec.images, *ids))
        return replace(life, spec=spec, own=(*life.own, *ids)), new

    def _removed(self, life: Life) -> tuple[Life, tuple[tuple[str, str | None], ...]]:
        if len(life.own) < 2:
            return self._added(life)
        gone = self._rng.choice(life.own)
        images = tuple(image for image in life.spec.images if image != gone)
        own = tuple(image for image in life.own if image != gone)
        return replace(life, spec=replace(life.spec, images=images), own=own), ()

    def _flipped(self, life: Life) -> tuple[Life, tuple[tuple[str, str | None], ...]]:
        other = "Reject" if life.spec.decision == "Accept" else "Accept"
        return replace(life, spec=replace(life.spec, decision=other)), ()

    def _held(self, life: Life) -> tuple[Life, tuple[tuple[str, str | None], ...]]:
        """The deletion policy changes."""
        other = "Reject" if life.spec.deletion_policy == "Retain" else "Retain"
        return replace(life, spec=replace(life.spec, deletion_policy=other)), ()

    def _suspend(self) -> None:
        target = self._people.some(Kind.PLAIN, Kind.OVERLAPPING, Kind.SELECTING)
        if target is None or not self._people.lives[target].spec.submits:
            return
        life = self._people.lives[target]
        self._edited(target, replace(life, spec=replace(life.spec, suspend=True)))
        self._after(1.0, 20.0, partial(self._resume, target))

    def _try_dry(self) -> None:
        target = self._people.some(Kind.PLAIN, Kind.SELECTING)
        if target is None or not self._people.lives[target].spec.submits:
            return
        life = self._people.lives[target]
        self._edited(target, replace(life, spec=replace(life.spec, dry_run=True)))
        self._after(1.0, 20.0, partial(self._resume, target))

    def _resume(self, target: Target) -> None:
        life = self._people.lives[target]
        self._edited(target, replace(life, spec=replace(life.spec, suspend=False, dry_run=False)))

    def _rotate(self) -> None:
        """A Secret goes bad, and is good again after a while."""
        content = self._contents.deal()
        logins = [login for login in self._people.logins if self._can_get(login, content)]
        if not logins:
            return
        login = self._rng.choice(logins)
        if content is Content.WRONG_PASSWORD:
            self._wrong_password[login] = self._now
        self._bad.add(login)
        self._do(Rotate(login.namespace, login.name, content))
        self._after(2.0, 12.0, partial(self._heal, login))

    def _can_get(self, login: Login, content: Content) -> bool:
        """Whether the login's Secret is good now, and may get this bad content."""
        if login in self._bad:
            return False
        if login.kind is SecretKind.SERVICE_ACCOUNT:
            return content is Content.ABSENT
        match content:
            case Content.UNKNOWN_USER:
                return login.kind is not SecretKind.TOKEN
            case Content.WRONG_PASSWORD:
                latest = self._wrong_password.get(login, float("-inf"))
                rested = self._now - latest > WRONG_PASSWORD_EVERY_S
                return login.kind is not SecretKind.TOKEN and rested
            case _:
                return True

    def _heal(self, login: Login) -> None:
        self._bad.discard(login)
        self._do(Rotate(login.namespace, login.name, Content.GOOD))

    def _drift(self) -> None:
        """Another client accepts or rejects a share, against the spec."""
        target = self._people.some(Kind.PLAIN, Kind.OVERLAPPING, Kind.SELECTING)
        if target is None or self._now > self._calm_from:
            return
        life = self._people.lives[target]
        images = life.own if life.kind is Kind.SELECTING else life.spec.images
        wrong = "rejected" if life.spec.value == "accepted" else "accepted"
        if images:
            self._do(Drift(self._rng.choice(images), life.spec.project, wrong))

    def _withdraw(self) -> None:
        """An owner takes a share back, and mostly shares again."""
        target = self._people.some(Kind.PLAIN, Kind.OVERLAPPING)
        if target is None or self._now > self._calm_from:
            return
        spec = self._people.lives[target].spec
        image = self._rng.choice(spec.images)
        self._do(Withdraw(image, spec.project))
        if self._rng.random() < 0.85:
            self._after(1.0, 20.0, partial(self._share, image, spec.project))

    def _fault(self) -> None:
        self._do(self._menu.mild(self._people.some_images(3)))

    def _lasting(self) -> None:
        if self._now < self._calm_from:
            self._do(self._menu.lasting(self._people.some_images(2)))

    def _lag(self) -> None:
        """Memberships and new shares show late for a while."""
        lag = self._between(0.5, 6.0)
        self._do(CloudSettings({"visibility_lag_seconds": lag, "share_lag_seconds": lag / 2}))
        quick = CloudSettings({"visibility_lag_seconds": 0.0, "share_lag_seconds": 0.0})
        self._after(3.0, 10.0, partial(self._do, quick))

    def _unfiltered(self) -> None:
        """Lists have the images of all owners for a while."""
        self._do(CloudSettings({"ignores_owner": True}))
        self._after(5.0, 15.0, partial(self._do, CloudSettings({"ignores_owner": False})))

    def _end(self) -> list[Action]:
        """The last edits, after all faults."""
        self._timed, timed = [], self._timed
        for login in sorted(self._bad, key=lambda login: (login.namespace, login.name)):
            self._heal(login)
        for target in [t for t, life in self._people.lives.items() if not life.spec.submits]:
            if self._rng.random() < 0.8:
                self._resume(target)
        for _ in range(max(3, len(self._people.lives) // 10)):
            self._edit()
        for _ in range(3):
            self._delete()
        self._timed, timed = timed, self._timed
        return [row.action for row in timed]
