"""Who lives in the chaos: logins, projects, images and live objects. Pure; ids from the dice."""

import random
import uuid
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from chaos.model import LINE_CHARS, MARK, Content, Login, SecretKind, Selector, Spec, Target

NAMESPACES = 4
DOMAINS = 2
PROJECTS_PER_DOMAIN = 3
POOL = 4
"""Images per project that several objects name."""
BAD_SECRETS = {
    "bad-key": Content.MISSING_KEY,
    "bad-user": Content.UNKNOWN_USER,
    "never": Content.ABSENT,
}
"""Secrets that stay as they are; in each namespace."""
MIN_AGES_S = (0, 0, 0, 20, 3600)
"""Of selectors: one that an image reaches in a run, and one that only older images have."""
OLDEST_S = 2 * 3600.0
"""The age of images that were built before the run, at most."""


class Kind(Enum):
    """What is special about an object."""

    PLAIN = auto()
    OVERLAPPING = auto()
    """Names images that others name too: it accepts, and retains."""
    SELECTING = auto()
    """Selects images of a line of its own, which their owner rebuilds."""
    BAD_SECRET = auto()
    """Its credentials never work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A live object: its latest spec, and the images that no other object names.

    Attributes:
        own: of a selector, those that were published.
    """

    kind: Kind
    spec: Spec
    own: tuple[str, ...]


@dataclass(slots=True)
class Population:
    """All that lives; changed by the schedule as it is made."""

    rng: random.Random
    lives: dict[Target, Life] = field(default_factory=dict[Target, Life])
    logins: tuple[Login, ...] = ()
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def __post_init__(self) -> None:
        """Make accounts, projects, Secrets and the shared images."""
        domains = [f"OTC-EU-DE-{number:020}" for number in range(DOMAINS)]
        projects = {
            domain: tuple(self.hex_id() for _ in range(PROJECTS_PER_DOMAIN)) for domain in domains
        }
        self.logins = tuple(
            self._login(
                number, kind, domains[number % DOMAINS], projects[domains[number % DOMAINS]]
            )
            for number in range(NAMESPACES)
            for kind in SecretKind
        )
        self.pools = {
            project: tuple(self.image_id() for _ in range(POOL))
            for chosen in projects.values()
            for project in chosen
        }

    def _login(
        self, number: int, kind: SecretKind, domain: str, projects: tuple[str, ...]
    ) -> Login:
        usable = self.rng.sample(projects, 1 if kind is SecretKind.TOKEN else 2)
        words = kind.name.lower().replace("_", "-")
        name = f"user-{number}-{words}"
        return Login(
            namespace=f"chaos-{number}",
            name=f"otc-{words}",
            kind=kind,
            user=name,
            user_id=self.hex_id(),
            domain=domain,
            password=f"{MARK}-{self.hex_id()}",
            projects=tuple(usable),
        )

    def hex_id(self) -> str:
        """32 hexadecimal digits, as projects and users have."""
        return f"{self.rng.getrandbits(128):032x}"

    def image_id(self) -> str:
        """A random UUID."""
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def images(self, count: int) -> tuple[tuple[str, str | None], ...]:
        """New images and how they are shared at first."""
        first = self.rng.choices(("pending", "accepted", "rejected", None), (86, 4, 3, 7), k=count)
        return tuple((self.image_id(), membership) for membership in first)

    def born(self, target: Target) -> tuple[Life, tuple[tuple[str, str | None], ...]]:
        """A new object in this namespace, and its new images."""
        kind = self.rng.choices(list(Kind), (68, 13, 12, 7))[0]
        login = self.rng.choice([row for row in self.logins if row.namespace == target.namespace])
        project = self.rng.choice(login.projects)
        # One in thirty is large enough for several batches (of 50 images by default).
        few = self.rng.random() < 0.97
        new = self.images(self.rng.randint(1, 5) if few else self.rng.randint(55, 70))
        own = tuple(image for image, _ in new)
        spec = Spec(images=own, project=project, secret=login.name)
        match kind:
            case Kind.PLAIN:
                decision = "Reject" if self.rng.random() < 0.25 else "Accept"
                policy = "Reject" if self.rng.random() < 0.35 else "Retain"
                spec = replace(spec, decision=decision, deletion_policy=policy)
            case Kind.OVERLAPPING:
                pool = self.rng.sample(self.pools[project], self.rng.randint(1, 3))
                spec = replace(spec, images=(*own, *pool))
            case Kind.SELECTING:
                return self._selecting(spec), ()
            case Kind.BAD_SECRET:
                bad = self.rng.choice(sorted(BAD_SECRETS))
                spec = Spec(images=own, project=project, secret=bad)
        return Life(kind=kind, spec=spec, own=own), new

    def _selecting(self, spec: Spec) -> Life:
        """A new object with a selector; its images are published later.

        Args:
            spec: names the project and the credentials.
        """
        selector = Selector(
            line=f"{self.rng.getrandbits(32):08x}",
            newest=self.rng.randint(1, 2),
            removal="Reject" if self.rng.random() < 0.7 else "Retain",
            min_age_s=self.rng.choice(MIN_AGES_S),
            limit=self.limit(),
        )
        policy = "Reject" if self.rng.random() < 0.35 else "Retain"
        spec = replace(spec, images=(), deletion_policy=policy, selector=selector)
        return Life(kind=Kind.SELECTING, spec=spec, own=())

    def limit(self) -> int:
        """Of a selector: mostly more than there ever are."""
        return self.rng.randint(2, 3) if self.rng.random() < 0.25 else 100

    def line_image(self, line: str) -> str:
        """A new ID of this line."""
        return line + self.image_id()[LINE_CHARS:]

    def some(self, *kinds: Kind) -> Target | None:
        """A live object of one of these kinds."""
        chosen = [target for target, life in self.lives.items() if life.kind in kinds]
        return self.rng.choice(chosen) if chosen else None

    def some_images(self, most: int) -> tuple[str, ...]:
        """Images that live objects name."""
        target = self.some(Kind.PLAIN)
        if target is None:
            return ()
        own = self.lives[target].own
        return tuple(self.rng.sample(own, min(len(own), self.rng.randint(1, most))))

    def names(self, image: str) -> bool:
        """Whether a live object names the image."""
        return any(life.spec.names(image) for life in self.lives.values())
