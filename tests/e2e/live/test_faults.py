"""The cloud misbehaves: the status tells the truth, and what can be done is done."""

from typing import Any

import pytest

from e2e.live.world import JOB, LOGIN, MEMBER, PUT, World

B = "GET /v1/cloudimages/job/{job_id}"


def failed(world: World) -> dict[str, str]:
    """Message by image, of the images that failed."""
    rows = world.status()["images"]
    return {row["id"]: row["message"] for row in rows if "message" in row}


@pytest.mark.parametrize(
    "shape",
    [
        {"partial": "A"},
        {"partial": "B"},
        {"partial": "C"},
        {"partial": "C-empty"},
        {"partial": "A", "row_failure": "FAIL"},
    ],
    ids=[
        "SUCCESS with a failed row",
        "FAIL with mixed rows",
        "FAIL with a code only",
        "FAIL with nothing",
        "a failed row in capitals",
    ],
)
def test_one_image_that_fails_is_named_and_the_others_are_done(
    world: World, shape: dict[str, Any]
) -> None:
    images = [world.image() for _ in range(4)]
    job = {"fail": [images[2]], "error_code": "IMG.0098", "fail_reason": "encrypted", **shape}
    world.sim.fault(PUT, job=job)

    world.apply(images)
    ready = world.wait_for("PartiallyFailed", within_s=40)

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


def test_job_that_says_fail_although_all_was_done_ends_ready(world: World) -> None:
    world.sim.fault(PUT, job={"fail": ["*"], "partial": "C", "apply": "everything"})

    world.apply([world.image()])
    world.wait_for("Accepted")

    assert world.status()["job"]["status"] == "FAIL"
    assert world.calls(PUT) == 1


def test_job_whose_status_is_in_small_letters_counts(world: World) -> None:
    world.sim.fault(PUT, job={"status": "success"})

    world.apply([world.image()])

    world.wait_for("Accepted")


@pytest.mark.parametrize("code", ["IMG.0023", "IMG.0031", "IMG.9999"])
def test_job_record_that_expired_is_made_up_for_by_looking(world: World, code: str) -> None:
    """It is not documented how the cloud says so."""
    world.sim.fault(JOB, status=400, code=code)
    world.sim.fault(B, status=400, code=code)

    world.apply([world.image()])
    world.wait_for("Accepted", within_s=40)

    assert world.calls(PUT) == 1


def test_membership_that_shows_late_is_waited_for(world: World) -> None:
    world.sim.settings(visibility_lag_seconds=4.0)
    try:
        world.apply([world.image()])
        world.wait_for("Accepted", within_s=30)
    finally:
        world.sim.settings(visibility_lag_seconds=0.0)

    assert world.calls(PUT) == 1


@pytest.mark.parametrize("code", ["IMG.0027", "IMG.0086", "IMG.0144", "IMG.0106"])
def test_batch_that_is_refused_for_one_image_is_split(world: World, code: str) -> None:
    images = [world.image() for _ in range(4)]
    world.sim.fault(PUT, images=[images[1]], status=400, code=code)

    world.apply(images)
    world.wait_for("PartiallyFailed", within_s=40)

    assert world.status()["summary"] == "3/4"
    assert code in failed(world)[images[1]]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503, "handle": True},
        {"reset": True, "handle": True},
        {"truncate": "body"},
        {"truncate": "connection"},
        {"status": 200, "body": "html", "handle": True},
        {"drop": ["job_id"]},
        {"patch": {"job_id": None}},
    ],
    ids=[
        "503 afterwards",
        "reset afterwards",
        "half the JSON",
        "half the JSON and gone",
        "HTML instead of JSON",
        "no job id",
        "job id null",
    ],
)
def test_put_whose_answer_is_lost_is_looked_for_and_not_repeated(
    world: World, fault: dict[str, Any]
) -> None:
    world.sim.fault(PUT, count=1, **fault)
    image = world.image()

    world.apply([image])
    world.wait_for("Accepted", within_s=30)

    assert world.calls(PUT) == 1
    assert world.membership(image) == "accepted"


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "code": "APIGW.0308"},
        {"status": 429, "code": "APIGW.0308", "retry_after": 2},
        {"status": 429, "code": "APIGW.0308", "retry_after_date": 2},
        {"status": 400, "code": "IMG.0060"},
        {"status": 409, "code": "IMG.0035"},
        {"status": 500, "body": "empty"},
        {"status": 502, "code": "APIGW.0201"},
        {"reset": True},
        {"status": 503, "body": "xml"},
    ],
    ids=[
        "429",
        "429 with seconds",
        "429 with a date",
        "flow control",
        "conflict",
        "500 without a body",
        "502 of the gateway",
        "reset",
        "503 in XML",
    ],
)
def test_passing_trouble_heals_by_itself(world: World, fault: dict[str, Any]) -> None:
    world.sim.fault(MEMBER, count=1, **fault)
    world.sim.fault(PUT, count=1, **fault)

    world.apply([world.image()])

    # A PUT that was reset may have been taken: its effect is looked for, for a minute.
    world.wait_for("Accepted", within_s=100 if "reset" in fault else 40)


def test_redirect_is_not_followed_with_the_token(world: World) -> None:
    world.sim.fault(MEMBER, status=302, headers={"Location": f"{world.sim.url}/v2/elsewhere"})

    world.apply([world.image()])
    world.wait_for("InvalidRequest")

    assert not [row for row in world.sim.journal() if "elsewhere" in row["route"]]


def test_401_that_never_ends_costs_two_logins(world: World) -> None:
    world.sim.fault(MEMBER, status=401, code="APIGW.0301")
    for number in range(4):
        world.apply([world.image()], name=f"web-{number}")

    for number in range(4):
        world.wait_for("CredentialsInvalid", name=f"web-{number}")

    assert world.calls(LOGIN) == 2


def test_outage_heals_and_its_probes_are_few(world: World) -> None:
    count = 30
    images = [world.image() for _ in range(count)]
    before = world.image()
    world.apply([before], name="before")
    world.wait_for("Accepted", name="before")
    looks = world.calls(MEMBER)
    world.sim.fault("*", status=503)
    for number, image in enumerate(images):
        world.apply([image], name=f"web-{number}")
    for number in range(count):
        world.wait_for("CloudUnavailable", name=f"web-{number}", within_s=30)
    asked = world.calls(MEMBER) - looks

    world.sim.clear_faults()
    for number in range(count):
        world.wait_for("Accepted", name=f"web-{number}", within_s=58)

    assert asked < 3 * count
    assert world.sent() == sorted([before, *images])
