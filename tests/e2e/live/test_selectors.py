"""Resources that select images: what owners do, and what the cloud then holds."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from e2e.live.owners import (
    FOREIGN,
    LIST,
    OWNER,
    batches,
    check,
    days,
    latest,
    publish,
    rows,
    select,
    selections,
    wait_for_event,
    wait_for_latest,
    wait_for_membership,
)
from e2e.live.world import World
from envtest import eventually

SOAK = timedelta(seconds=6)
"""A small `minAge`: the operator's clock is real."""


@pytest.fixture
def two_per_page(world: World) -> Iterator[World]:
    """A cloud whose pages have up to two images, whatever the request asks for."""
    world.sim.settings(max_limit=2)
    yield world
    world.sim.settings(max_limit=1000)


def test_what_matches_is_accepted_and_nothing_else(world: World) -> None:
    new = publish(world, "ubuntu-20260108")
    old = publish(world, "ubuntu-20260101", age=days(7))
    others = [
        publish(world, "debian-20260108"),
        publish(world, "ubuntu-20260109", owner=FOREIGN),
        publish(world, "ubuntu-20260110", whole=True),
        publish(world, "ubuntu-20260111", status="deactivated"),
        publish(world, "ubuntu-20260112", hidden=["owner"]),
    ]

    select(world, {"groupBy": "^(.+)-[0-9]{8}$"})
    world.wait_for("Accepted")

    assert world.sent() == sorted([new, old])
    assert [world.membership(image) for image in others] == ["pending"] * 5
    assert selections(world) == {new: "Selected", old: "Selected", others[3]: "Inactive"}
    assert (rows(world)[new]["name"], rows(world)[new]["owner"]) == ("ubuntu-20260108", OWNER)
    assert latest(world) == {"ubuntu": new}
    assert (world.status()["selected"], world.status()["summary"]) == (2, "2/2")
    wait_for_event(world, "ImageSelected")
    wait_for_event(world, "LatestChanged")


def test_rows_of_another_owner_are_not_submitted(world: World) -> None:
    """The server ignores the filter of the request."""
    own = publish(world, "ubuntu-20260101", age=days(1))
    foreign = publish(world, "ubuntu-20260108", owner=FOREIGN)
    world.sim.fault(LIST, projects=[world.project], ignore_query=["owner"])

    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")

    assert world.sent() == [own]
    assert foreign not in rows(world)


def test_new_build_supersedes_an_older_one_that_stays_accepted(world: World) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1})
    world.wait_for("Accepted")

    new = publish(world, "ubuntu-20260108")
    check(world)
    wait_for_latest(world, new)

    assert selections(world) == {new: "Selected", old: "Superseded"}
    assert (world.membership(old), world.membership(new)) == ("accepted", "accepted")
    assert world.status()["latest"][0]["previousID"] == old
    wait_for_event(world, "ImageSuperseded")


def test_superseded_build_is_rejected_after_the_new_one_is_accepted(world: World) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    by_others = publish(world, "ubuntu-20251224", age=days(14))
    world.sim.set_membership(by_others, world.project, "accepted")
    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")

    world.hold_jobs()
    new = publish(world, "ubuntu-20260108")
    check(world)
    eventually(lambda: len(world.puts()) == 2 or None)
    check(world)
    assert world.membership(old) == "accepted"
    world.finish_jobs()
    wait_for_membership(world, old, "rejected")
    world.wait_for("Accepted")

    assert batches(world) == [[old], [new], [old]]
    assert world.membership(by_others) == "accepted"
    assert world.status()["summary"] == "1/1"


def test_withdrawn_image_leaves_the_selection(world: World) -> None:
    gone, other = publish(world, "ubuntu-20260108"), publish(world, "ubuntu-20260101", age=days(7))
    select(world, removalPolicy="Reject")
    world.wait_for("Accepted")

    world.sim.withdraw(gone, world.project)
    check(world)

    assert selections(world) == {other: "Selected"}
    assert latest(world) == {"": other}
    wait_for_event(world, "ImageWithdrawn")
    assert world.sent() == sorted([gone, other])


def test_image_that_is_shared_again_is_accepted_again(world: World) -> None:
    image = publish(world, "ubuntu-20260101")
    select(world)
    world.wait_for("Accepted")
    world.sim.withdraw(image, world.project)
    check(world)
    world.wait_for("NothingSelected")

    world.sim.share(image, world.project)
    check(world)

    wait_for_membership(world, image, "accepted")
    world.wait_for("Accepted")


def test_rename_never_causes_a_rejection(world: World) -> None:
    first = publish(world, "ubuntu-20260101", age=days(7))
    second = publish(world, "rocky-20260108")
    policy = {"groupBy": "^(.+)-[0-9]{8}$", "newest": 1}
    select(world, policy, removalPolicy="Reject", pattern="*")
    world.wait_for("Accepted")

    world.sim.rename(second, "ubuntu-20260108")
    for _ in range(3):
        check(world)
    assert selections(world) == {second: "Selected", first: "Superseded"}
    world.sim.rename(second, "retired")
    for _ in range(3):
        check(world)

    assert (world.membership(first), world.membership(second)) == ("accepted", "accepted")
    assert len(world.puts()) == 1


def test_young_image_is_accepted_when_it_is_old_enough(world: World) -> None:
    image = publish(world, "ubuntu-20260101")
    select(world, {"minAge": f"{SOAK.seconds}s"}, interval="24h")

    ready = world.wait_for("NothingSelected")
    assert "1 TooYoung" in ready["message"]
    assert rows(world)[image]["message"].startswith("younger than minAge until ")
    world.wait_for("Accepted")

    assert world.membership(image) == "accepted"


def test_clock_of_the_cloud_ahead_of_ours_makes_no_image_old_enough(world: World) -> None:
    future = publish(world, "ubuntu-20260108", age=days(-1))
    unknown = publish(world, "ubuntu-20260101", hidden=["created_at"])

    select(world, {"minAge": "1s"})
    world.wait_for("NothingSelected")

    assert selections(world) == {future: "TooYoung", unknown: "TooYoung"}
    assert "created_at" in rows(world)[unknown]["message"]
    assert world.puts() == []


def test_nothing_new_is_submitted_above_the_limit(world: World) -> None:
    first = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"limit": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")

    second = publish(world, "ubuntu-20260108")
    check(world)
    ready = world.wait_for("LimitExceeded")

    assert "selects 2 images, and the limit is 1" in ready["message"]
    assert (world.condition("Stalled") or {})["reason"] == "LimitExceeded"
    assert selections(world) == {first: "Selected", second: "OverLimit"}
    assert batches(world) == [[first]]
    world.edit(imageSelectionPolicy={"limit": 2})
    world.wait_for("Accepted")
    assert batches(world) == [[first], [second]]


def test_dry_run_submits_nothing(world: World) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")
    world.edit(dryRun=True)
    new = publish(world, "ubuntu-20260108")
    check(world)

    ready = world.wait_for("DryRun")
    assert "1 image would be accepted and 1 image would be rejected" in ready["message"]
    assert rows(world)[new]["message"] == "dry run: would be accepted"
    assert batches(world) == [[old]]
    world.edit(dryRun=False)
    wait_for_membership(world, old, "rejected")
    assert batches(world) == [[old], [new], [old]]


def test_excluded_image_is_rejected_by_policy(world: World) -> None:
    bad, good = publish(world, "ubuntu-20260108"), publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1}, removalPolicy="Reject")
    world.wait_for("Accepted")

    world.edit(imageSelectionPolicy={"exclude": [bad]})
    wait_for_membership(world, bad, "rejected")
    world.wait_for("Accepted")

    assert batches(world) == [[bad], [good], [bad]]
    assert selections(world) == {good: "Selected", bad: "Excluded"}
    wait_for_latest(world, good)


def test_all_pages_are_read(two_per_page: World) -> None:
    world = two_per_page
    images = [publish(world, f"ubuntu-{number}") for number in range(7)]

    select(world)
    world.wait_for("Accepted")

    assert world.sent() == sorted(images)


def test_list_whose_second_page_fails_changes_nothing(two_per_page: World) -> None:
    world = two_per_page
    images = [publish(world, f"ubuntu-{day}", age=days(30 - day)) for day in range(5)]
    select(world, {"newest": 3}, removalPolicy="Reject")
    world.wait_for("Accepted")
    assert world.sent() == sorted(images[2:])
    before = world.status()["images"]

    world.sim.fault(LIST, projects=[world.project], query={"marker": None}, status=500)
    images += [publish(world, f"ubuntu-{day}", age=days(30 - day)) for day in (5, 6)]
    world.annotate(**{"ims.otc.dev/reconcile-at": "while it fails"})
    ready = world.wait_for("CloudUnavailable")

    assert "HTTP 500" in ready["message"]
    assert world.status()["images"] == before
    assert world.sent() == sorted(images[2:5])
    world.sim.clear_faults()
    wait_for_membership(world, images[3], "rejected")
    held = [world.membership(image) for image in images]
    assert held == ["pending"] * 2 + ["rejected"] * 2 + ["accepted"] * 3


def test_image_that_is_withdrawn_between_two_pages_disturbs_no_other(two_per_page: World) -> None:
    world = two_per_page
    images = [publish(world, f"ubuntu-{day}", age=days(30 - day)) for day in range(5)]
    gone = images[3]  # the last one of the first page
    world.sim.fault(
        LIST, projects=[world.project], query={"member_status": "pending"}, withdraw=[gone], count=1
    )

    select(world)
    world.wait_for("Accepted")

    assert world.sent() == sorted(set(images) - {gone})


def test_deletion_rejects_what_was_accepted(world: World) -> None:
    old = publish(world, "ubuntu-20260101", age=days(7))
    other = publish(world, "debian-20260101")
    world.sim.set_membership(other, world.project, "accepted")
    select(world, {"newest": 1}, deletionPolicy="Reject")
    world.wait_for("Accepted")
    new = publish(world, "ubuntu-20260108")
    check(world)
    wait_for_latest(world, new)

    world.delete()
    eventually(lambda: world.find() is None or None)

    held = [world.membership(image) for image in (old, new, other)]
    assert held == ["rejected", "rejected", "accepted"]


def test_older_list_that_rejects_an_image_is_in_charge_of_it(world: World) -> None:
    refused, other = publish(world, "ubuntu-20260108"), publish(world, "ubuntu-20260101")
    world.apply([refused], "older", decision="Reject")
    world.wait_for("Rejected", "older")

    select(world)
    ready = world.wait_for("Conflict")
    wait_for_membership(world, other, "accepted")

    assert f"Image {refused}: conflict with older" in ready["message"]
    assert world.membership(refused) == "rejected"
    world.delete("older")
    world.wait_for("Accepted")
    assert world.membership(refused) == "accepted"


def test_image_that_another_resource_accepts_is_not_rejected(world: World) -> None:
    """A team keeps one build, another team of the same project keeps two."""
    old = publish(world, "ubuntu-20260101", age=days(7))
    select(world, {"newest": 1}, name="one", removalPolicy="Reject")
    world.wait_for("Accepted", "one")  # by its own job: it rejects nothing else
    select(world, {"newest": 2}, name="two")
    world.wait_for("Accepted", "two")
    new = publish(world, "ubuntu-20260108")
    for name in ("one", "two"):
        check(world, name)
        wait_for_latest(world, new, name)
    for _ in range(2):
        check(world, "one")
        check(world, "two")

    assert (world.membership(old), world.membership(new)) == ("accepted", "accepted")
    assert selections(world, "one") == {new: "Selected", old: "Superseded"}
    world.delete("two")
    eventually(lambda: world.find("two") is None or None)
    check(world, "one")
    wait_for_membership(world, old, "rejected")


def test_image_that_leaves_a_list_is_rejected_and_comes_back(world: World) -> None:
    first, second = world.image(), world.image()
    by_others = world.image("accepted")
    world.apply([first, second, by_others], removalPolicy="Reject")
    world.wait_for("Accepted")

    world.edit(images=[second])
    wait_for_membership(world, first, "rejected")
    world.wait_for("Accepted")
    assert world.membership(by_others) == "accepted"
    world.edit(images=[first])
    wait_for_membership(world, first, "accepted")
    wait_for_membership(world, second, "rejected")
    world.wait_for("Accepted")

    assert list(rows(world)) == [first]


def test_list_that_becomes_a_selector_and_a_list_again(world: World) -> None:
    """A migration rejects nothing; the list at the end rejects what it does not name."""
    old, new = publish(world, "ubuntu-20260101", age=days(7)), publish(world, "ubuntu-20260108")
    world.apply([old], removalPolicy="Reject")
    world.wait_for("Accepted")

    terms = [{"owner": OWNER, "name": "ubuntu-*"}]
    policy = {"newest": 1}
    world.edit(images=None, imageSelectorTerms=terms, imageSelectionPolicy=policy)
    wait_for_latest(world, new)
    for _ in range(2):
        check(world)
    assert (world.membership(old), world.membership(new)) == ("accepted", "accepted")

    world.edit(images=[old], imageSelectorTerms=None, imageSelectionPolicy=None)
    wait_for_membership(world, new, "rejected")
    world.wait_for("Accepted")

    assert list(rows(world)) == [old]
    assert "latest" not in world.status()
    assert batches(world) == [[old], [new], [new]]


def test_describe_tells_a_user_what_is_selected_and_why_not(world: World) -> None:
    publish(world, "debian-20260101")
    select(world)
    ready = world.wait_for("NothingSelected")

    assert ready["message"] == (
        f"No image is selected for project {world.project}: owner {OWNER} shares 1 image, and none "
        "matches: 1 with a name that does not match 'ubuntu-*' (newest: 'debian-20260101'). The "
        "operator checks again automatically."
    )
    odd = publish(world, "ubuntu-\u202egpj.exe\n\x1b[31mREADY" + "n" * 4096)
    check(world)
    world.wait_for("Accepted")
    told = world.control_plane.kubectl("describe", "isa/web", "-n", world.namespace)

    (name,) = {row["name"] for row in rows(world).values()}
    assert name.startswith("ubuntu-?gpj.exe??[31mREADYnnn")
    assert len(name) == 128
    assert odd in told
    assert "\u202e" not in told
    assert "\x1b" not in told
