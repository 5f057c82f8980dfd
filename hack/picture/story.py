"""The events of the run that the picture shows."""

from collections.abc import Callable
from dataclasses import dataclass

from e2e.live.owners import days, publish, select
from e2e.live.world import PUT, World
from envtest import ControlPlane, Operator
from otc_simulator.client import Simulator

LASTS_S = 330.0
LIST = "GET /v2/cloudimages"
INTERVAL = "1m"
"""The shortest interval that the CRD allows, so that a run of minutes shows drift."""
NOT_SHARED = [f"0a1b2c3d-0000-4000-8000-{number:012x}" for number in range(24)]
NEVER_SHARED = 4
"""The last of them stay unshared, so that the picture shows resources that are not Ready."""
GROUPS = "^(.+)-[0-9]{8}$"
"""The name of a build is its group and its date."""


class Cast:
    """Four teams with a namespace, a project and a user each, a cloud, and two replicas."""

    def __init__(
        self, control_plane: ControlPlane, cloud: Simulator, replicas: tuple[Operator, Operator]
    ) -> None:
        self.cloud = cloud
        self.replicas = replicas
        self.red, self.green, self.blue, self.gold = (
            World(control_plane, cloud, replicas[0], control_plane.create_namespace(team))
            for team in ("red", "green", "blue", "gold")
        )
        self.images: dict[str, list[str]] = {}

    def apply(self, team: World, prefix: str, count: int, each: int = 1) -> None:
        """Apply resources of a team, with images that are shared with it.

        Args:
            each: number of images of each resource.
        """
        images = self.cloud.add_images(count * each, shared_with=[team.project])
        self.images[prefix] = images
        for number in range(count):
            mine = images[number * each : (number + 1) * each]
            team.apply(mine, f"{prefix}-{number}", interval=INTERVAL)


@dataclass(frozen=True, slots=True)
class Chapter:
    """An event at a time of the run; docs/dashboard.md has the same words."""

    at_s: float
    words: str
    act: Callable[[Cast], None]


def _apply(cast: Cast) -> None:
    cast.red.secret()
    cast.green.secret()
    cast.apply(cast.red, "web", 200)
    cast.apply(cast.green, "base", 50, each=4)
    cast.gold.secret()
    for weeks in range(3):
        for system in ("ubuntu", "ubuntu-gpu"):
            publish(cast.gold, f"{system}-2026010{weeks + 1}", age=days(21 - 7 * weeks))
    for system in ("ubuntu", "debian"):
        policy = {"groupBy": GROUPS, "newest": 1}
        select(cast.gold, policy, name=system, pattern=f"{system}-*", interval=INTERVAL)


def _wrong_password(cast: Cast) -> None:
    wrong = cast.blue.password.upper()
    cast.blue.secret(username=cast.blue.user, password=wrong, domainName=cast.cloud.domain)
    cast.apply(cast.blue, "locked", 30)
    for number, image in enumerate(NOT_SHARED):
        cast.red.apply([image], f"late-{number}", interval=INTERVAL)


def _correct_password(cast: Cast) -> None:
    cast.blue.secret()


def _share(cast: Cast) -> None:
    cast.cloud.seed(
        images=[{"id": image, "owner": cast.cloud.owner_project_id} for image in NOT_SHARED],
        shares=[(image, cast.red.project, "pending") for image in NOT_SHARED[:-NEVER_SHARED]],
    )


def _cloud_away(cast: Cast) -> None:
    cast.cloud.pause()


def _cloud_back(cast: Cast) -> None:
    cast.cloud.resume()


def _drift(cast: Cast) -> None:
    for image in cast.images["base"][:60]:
        cast.cloud.set_membership(image, cast.green.project, "rejected")


def _build(cast: Cast) -> None:
    for system in ("ubuntu", "ubuntu-gpu", "debian"):
        publish(cast.gold, f"{system}-20260104")


def _kill(cast: Cast) -> None:
    cast.replicas[0].kill()


def _busy(cast: Cast) -> None:
    cast.replicas[0].start()
    for route in (PUT, LIST):
        cast.cloud.fault(route, count=3, status=429, retry_after=3)
    cast.apply(cast.green, "more", 120)


def _refused(cast: Cast) -> None:
    images = cast.cloud.add_images(40, shared_with=[cast.blue.project])
    cast.cloud.fault(PUT, images=[images[7]], status=400, code="IMG.0027")
    for number, image in enumerate(images):
        cast.blue.apply([image], f"mixed-{number}", interval=INTERVAL)


CHAPTERS = (
    Chapter(
        10,
        "250 resources with 400 images and two selectors are applied at once",
        _apply,
    ),
    Chapter(
        35,
        "30 resources with a wrong password and 24 with images that are not shared are applied",
        _wrong_password,
    ),
    Chapter(65, "the password is corrected", _correct_password),
    Chapter(80, "the owner shares 20 of the 24 images", _share),
    Chapter(95, "the cloud refuses all connections", _cloud_away),
    Chapter(130, "the cloud accepts connections again", _cloud_back),
    Chapter(155, "another client rejects 60 images", _drift),
    Chapter(175, "the owner shares three new builds", _build),
    Chapter(225, "the leader is killed", _kill),
    Chapter(
        255,
        "the replica starts again, the cloud throttles, 120 more resources are applied",
        _busy,
    ),
    Chapter(
        290,
        "40 more resources are applied; the cloud rejects one of their images",
        _refused,
    ),
)
