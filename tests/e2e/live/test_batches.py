"""Objects that share a batch: each tells its own story, and none spoils another's."""

import math
from collections.abc import Iterable

import pytest

from e2e.live.world import PUT, World

COUNT = 16
CULPRIT = 11
LIST = "GET /v2/cloudimages"


def apply_each(world: World, images: Iterable[str]) -> list[str]:
    """One object for each image, as fast as the API server takes them."""
    return [world.apply([image], name=f"web-{n}") for n, image in enumerate(images)]


def settled(world: World, names: list[str]) -> None:
    """All but the failing image are accepted; it alone is reported, with its reason."""
    for number, name in enumerate(names):
        if number != CULPRIT:
            world.wait_for("Accepted", name=name)
    world.wait_for("InvalidRequest", name=names[CULPRIT])


def test_objects_applied_together_travel_in_few_batches(world: World) -> None:
    images = [world.image() for _ in range(COUNT)]

    names = apply_each(world, images)

    for name in names:
        world.wait_for("Accepted", name=name)
    assert world.sent() == sorted(images)
    assert world.calls(PUT) <= COUNT / 2
    for image, name in zip(images, names, strict=True):
        status = world.status(name)
        assert [row["id"] for row in status["images"]] == [image]
        assert status["images"][0]["jobID"] == status["job"]["id"]
        assert status["summary"] == "1/1"


@pytest.mark.parametrize("code", ["IMG.0027", "IMG.0184", "IMG.9999", None])
def test_batch_refused_because_of_one_object_spoils_no_other(
    world: World, code: str | None
) -> None:
    images = [world.image() for _ in range(COUNT)]
    world.sim.fault(PUT, images=[images[CULPRIT]], status=400, code=code)

    names = apply_each(world, images)

    settled(world, names)
    assert world.membership(images[CULPRIT]) == "pending"
    assert (code or "HTTP 400") in world.status(names[CULPRIT])["images"][0]["message"]


@pytest.mark.parametrize(
    ("shape", "code"),
    [("B", "IMG.0027"), ("C", "IMG.0027"), ("C", "IMG.0184")],
    ids=["names the image", "names no image", "names no image, has a code of the request"],
)
def test_job_that_fails_because_of_one_object_spoils_no_other(
    world: World, shape: str, code: str
) -> None:
    images = [world.image() for _ in range(COUNT)]
    bad = images[CULPRIT]
    fate = {"fail": [bad], "partial": shape, "apply": "nothing", "error_code": code}
    world.sim.fault(PUT, images=[bad], job=fate)

    names = apply_each(world, images)

    settled(world, names)
    assert world.membership(bad) == "pending"
    rounds = 2 * math.ceil(math.log2(COUNT))
    assert world.calls(PUT) <= COUNT / 2 + rounds + 1


def test_cloud_that_takes_small_batches_only_gets_small_ones(world: World) -> None:
    world.sim.settings(max_batch=3)
    try:
        images = [world.image() for _ in range(COUNT)]

        for name in apply_each(world, images):
            world.wait_for("Accepted", name=name)
    finally:
        world.sim.settings(max_batch=None)

    assert sorted(set(world.sent())) == sorted(images)


def test_object_with_many_images_reads_lists(world: World) -> None:
    images = [world.image() for _ in range(40)]
    lists = world.calls(LIST)

    world.apply(images)

    world.wait_for("Accepted")
    assert world.sent() == sorted(images)
    assert 0 < world.calls(LIST) - lists <= 8
