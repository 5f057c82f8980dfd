"""Jobs and images fail: the status names the images, and the others are done."""

from typing import Any

import pytest

from e2e.live.world import MEMBER, PUT, World

B = "GET /v1/cloudimages/job/{job_id}"


def failed(world: World) -> dict[str, str]:
    """Message by image, of the images that failed."""
    rows = world.status()["images"]
    return {row["id"]: row["message"] for row in rows if "message" in row}


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param({"partial": "A"}, id="SUCCESS with a failed row"),
        pytest.param({"partial": "B"}, id="FAIL with mixed rows"),
        pytest.param({"partial": "C"}, id="FAIL with a code only"),
        pytest.param({"partial": "C-empty"}, id="FAIL with nothing"),
        pytest.param({"partial": "A", "row_failure": "FAIL"}, id="a failed row in capitals"),
    ],
)
def test_one_image_that_fails_is_named_and_the_others_are_done(
    world: World, shape: dict[str, Any]
) -> None:
    images = [world.image() for _ in range(4)]
    job = {"fail": [images[2]], "error_code": "IMG.0098", "fail_reason": "encrypted", **shape}
    world.sim.fault(PUT, job=job)

    world.apply(images)
    ready = world.wait_for("PartiallyFailed")

    assert world.status()["summary"] == "3/4"
    assert list(failed(world)) == [images[2]]
    assert images[2] in ready["message"]
    assert [world.membership(image) for image in images].count("accepted") == 3


@pytest.mark.parametrize("rows", ["missing", "empty", "short", "duplicate", "unordered", "extra"])
def test_odd_result_rows_of_a_good_job_do_not_matter(world: World, rows: str) -> None:
    world.sim.fault(PUT, job={"rows": rows})

    world.apply([world.image() for _ in range(3)])
    world.wait_for("Accepted")

    assert world.calls(PUT) == 1


@pytest.mark.parametrize("times", ["legacy", "empty", "null"])
def test_odd_times_of_a_job_do_not_matter(world: World, times: str) -> None:
    world.sim.fault(PUT, job={"times": times})

    world.apply([world.image()])

    world.wait_for("Accepted")


def test_membership_that_shows_late_is_waited_for(world: World) -> None:
    world.sim.settings(visibility_lag_seconds=4.0)
    try:
        world.apply([world.image()])
        world.wait_for("Accepted")
    finally:
        world.sim.settings(visibility_lag_seconds=0.0)

    assert world.calls(PUT) == 1


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"status": 403, "code": "IMS.0403"}, "IMS.0403"),
        ({"status": 410}, "HTTP 410"),
        ({"status": 503}, "HTTP 503"),
        ({"patch": {"status": "odd"}}, "unknown member status 'odd'"),
    ],
    ids=["denied", "gone", "server error", "unknown status word"],
)
def test_image_that_cannot_be_read_keeps_no_other_from_being_done(
    world: World, fault: dict[str, Any], told: str
) -> None:
    images = [world.image() for _ in range(3)]
    world.sim.fault(MEMBER, images=[images[1]], **fault)

    world.apply(images)
    world.wait_for("PartiallyFailed")

    assert world.sent() == sorted((images[0], images[2]))
    assert world.status()["summary"] == "2/3"
    assert told in failed(world)[images[1]]
    assert images[1] in world.status()["conditions"][0]["message"]


@pytest.mark.parametrize("code", ["IMG.0027", "IMG.0086", "IMG.0144", "IMG.0106"])
def test_batch_that_is_refused_for_one_image_is_split(world: World, code: str) -> None:
    images = [world.image() for _ in range(4)]
    world.sim.fault(PUT, images=[images[1]], status=400, code=code)

    world.apply(images)
    world.wait_for("PartiallyFailed")

    assert world.status()["summary"] == "3/4"
    assert code in failed(world)[images[1]]
