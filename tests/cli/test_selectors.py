"""`check` and `pending --as selector` against the simulated cloud."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.command import INSECURE, Ended, Json
from otc_simulator.client import Simulator

Run = Callable[..., Ended]
Write = Callable[..., str]
PUT = "PUT /v1/cloudimages/members"
LIST = "GET /v2/cloudimages"
OTHER_OWNER = "cccccccccccccccccccccccccccccc10"
BUILT = datetime(2026, 1, 5, tzinfo=UTC)
TERMS = [{"owner": Simulator.owner_project_id, "name": "base-*"}]


def build(sim: Simulator, name: str, status: str | None = None, **image: Any) -> str:
    """Publish an image; a status is that of its share."""
    made = sim.publish(name, shared_with=[sim.project_id], **{"created_at": BUILT, **image})
    if status is not None:
        sim.set_membership(made, sim.project_id, status)
    return made


def select(
    run: Run, write: Write, terms: list[Json] | None = TERMS, output: str = "json", **changes: Any
) -> Ended:
    spec = {"images": None, "imageSelectorTerms": terms, **changes}
    return run("check", write(**spec), INSECURE, "-o", output)


def rows(ended: Ended) -> list[tuple[str, str, str]]:
    (resource,) = ended.json["resources"]
    return [(row["name"], row["selection"], row["action"]) for row in resource["images"]]


def test_check_shows_each_share_of_the_owners_and_what_happens(
    sim: Simulator, run: Run, write: Write
) -> None:
    week = timedelta(days=7)
    build(sim, "base-20260105", "accepted")
    build(sim, "base-20260112", created_at=BUILT + week)
    build(sim, "base-20260119", created_at=BUILT + 2 * week)
    build(sim, "other")
    build(sim, "gone", "rejected")
    build(sim, "base-20260126", owner=OTHER_OWNER)

    ended = select(run, write, imageSelectionPolicy={"newest": 2})

    assert ended.code == 0, ended.out
    assert rows(ended) == [
        ("base-20260119", "Selected", "accept"),
        ("base-20260112", "Selected", "accept"),
        ("base-20260105", "Superseded", "nothing"),
        ("other", None, "nothing"),
    ]
    (resource,) = ended.json["resources"]
    assert resource["step"] == "Would accept 2 of 2 selected images in 1 batch."
    assert [row["message"] for row in resource["images"]][2:] == [
        "newest is 2: newer images of its group are selected",
        "no term matches: its name is 'other' and does not match 'base-*'",
    ]
    assert resource["images"][0]["createdAt"] == "2026-01-19T00:00:00Z"
    assert resource["rights"]["ims:images:get"] == "yes"
    assert sim.calls(PUT) == 0


@pytest.mark.parametrize(
    ("policy", "selection", "message"),
    [
        ({"minAge": "8760h"}, "TooYoung", "younger than minAge until 2"),
        ({"limit": 1}, "OverLimit", "more images match than the limit of 1"),
    ],
)
def test_check_tells_why_a_matching_image_is_not_selected(
    sim: Simulator, run: Run, write: Write, policy: Json, selection: str, message: str
) -> None:
    for name in ("base-1", "base-2"):
        build(sim, name, created_at=None)

    ended = select(run, write, imageSelectionPolicy=policy)

    found = ended.json["resources"][0]["images"]
    assert {row["selection"] for row in found} == {selection}
    assert {row["message"].startswith(message) for row in found} == {True}
    assert ended.code == 1


def test_check_ends_with_one_when_nothing_is_selected(
    sim: Simulator, run: Run, write: Write
) -> None:
    build(sim, "other")

    ended = select(run, write)

    assert ended.code == 1
    step = ended.json["resources"][0]["step"]
    assert step.startswith(f"No image is selected for project {sim.project_id}")
    assert "'base-*'" in step


def test_check_of_a_dry_run_tells_what_would_be_sent(
    sim: Simulator, run: Run, write: Write
) -> None:
    image = build(sim, "base-1")

    for ended in (
        select(run, write, dryRun=True),
        select(run, write, None, images=[image], dryRun=True),
    ):
        (row,) = ended.json["resources"][0]["images"]
        assert (ended.code, row["action"]) == (0, "nothing")
        assert row["message"] == "dry run: would be accepted"


def test_check_ignores_rows_of_other_owners(sim: Simulator, run: Run, write: Write) -> None:
    build(sim, "base-1")
    build(sim, "base-2", owner=OTHER_OWNER)
    sim.fault(LIST, ignore_query=["owner"])

    assert rows(select(run, write)) == [("base-1", "Selected", "accept")]


def test_check_never_decides_by_half_a_list(sim: Simulator, run: Run, write: Write) -> None:
    sim.settings(max_limit=1)
    build(sim, "base-1")
    build(sim, "base-2")
    sim.fault(LIST, query={"marker": None}, status=503)

    ended = select(run, write)

    (resource,) = ended.json["resources"]
    assert (ended.code, resource["images"]) == (3, [])
    assert "HTTP 503" in resource["trouble"]


@pytest.mark.parametrize(
    ("right", "name"), [("get", "ims:images:get"), ("list", "ims:images:list")]
)
def test_check_of_a_selector_names_the_right_that_is_missing(
    sim: Simulator, run: Run, write: Write, right: str, name: str
) -> None:
    build(sim, "base-1")
    sim.change_user(policies={sim.project_id: sorted({"get", "list", "share"} - {right})})

    ended = select(run, write)

    (resource,) = ended.json["resources"]
    assert [key for key, held in resource["rights"].items() if held == "no"] == [name]
    assert (ended.code, "403" in resource["trouble"]) == (1, True)


def test_check_validates_a_selector_without_the_cloud(
    sim: Simulator, run: Run, write: Write
) -> None:
    policy = {"groupBy": "(a"}

    ended = select(run, write, imageSelectionPolicy=policy)

    assert ended.code == 2
    assert "spec.imageSelectionPolicy.groupBy: " in ended.out
    assert sim.calls(LIST) == 0


def test_narrow_terminal_shows_names_and_the_rest_below(
    sim: Simulator, terminal: Callable[..., str], write: Write
) -> None:
    name = "base-with-a-rather-long-name-20260105"
    image = build(sim, name)
    other = build(sim, "other")
    file = write(images=None, imageSelectorTerms=TERMS)

    shown = terminal(80, "check", file, INSECURE, NO_COLOR="1")

    lines = shown.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert "  selection    1 Selected; 1 of 2 shares match a term" in lines
    assert f"{name}  Selected   accept   pending" in lines
    assert [line for line in lines if line.startswith(f"  other ({other}): no term")]
    assert image not in shown


def test_table_shows_twenty_images_that_match_no_term(
    sim: Simulator, run: Run, write: Write
) -> None:
    for number in range(23):
        build(sim, f"other-{number:02}")

    lines = select(run, write, output="table").out.splitlines()

    assert sum(line.startswith("other-") for line in lines) == 20
    assert "  Images that match no term and are not shown: 3. Use -o json." in lines


def test_hostile_names_are_shown_on_one_line(sim: Simulator, run: Run, write: Write) -> None:
    build(sim, "base-\u202egpj.exe\n\x1b[2J")
    build(sim, "x" * 4096)

    ended = select(run, write, output="table")

    assert [char for char in ended.out if not char.isprintable() and char != "\n"] == []
    assert "base-?gpj.exe??[2J" in ended.out
    assert max(len(line) for line in ended.out.splitlines()) < 450


@pytest.fixture
def propose(sim: Simulator, run: Run, secret: Json, tmp_path: Path) -> Run:
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    def propose(*words: str, output: str = "yaml") -> Ended:
        secret = ("--secret", "secret.yaml", "-o", output)
        return run("pending", *where, "--as", "selector", *secret, *words)

    return propose


def test_proposed_selector_selects_all_that_is_shared(
    sim: Simulator, propose: Run, run: Run, tmp_path: Path
) -> None:
    names = ["base-20260105", "base-20260112", "app-v1.4", "postgres-17"]
    for name in names:
        build(sim, name)
    build(sim, "base-20251229", "accepted")
    rejected = build(sim, "base-20251222", "rejected")
    build(sim, "plain", owner=OTHER_OWNER)

    made = propose("--name", "golden", "--namespace", "team-a")
    (tmp_path / "made.yaml").write_text(made.out)
    checked = run("check", "made.yaml", "--secret", "secret.yaml", INSECURE, "-o", "json")

    assert (made.code, checked.code) == (0, 0), (made, checked)
    assert made.out.startswith("# This selector is for 5 pending images and 1 accepted image,")
    spec = yaml.safe_load(made.out)["spec"]
    assert spec["imageSelectorTerms"] == [
        {"owner": sim.owner_project_id, "name": "app-v*"},
        {"owner": sim.owner_project_id, "name": "base-*"},
        {"owner": sim.owner_project_id, "name": "postgres-17"},
        {"owner": OTHER_OWNER, "name": "plain"},
    ]
    assert spec["imageSelectionPolicy"]["exclude"] == [rejected]
    assert f"- {rejected} # base-20251222, rejected" in made.out
    assert "# 3 images, such as base-" in made.out
    found = {(name, selection) for name, selection, _ in rows(checked)}
    everything = {(name, "Selected") for name in (*names, "base-20251229", "plain")}
    assert found == everything | {("base-20251222", "Excluded")}
    assert sim.calls(PUT) == 0


def test_proposed_selector_is_for_the_asked_owners_and_names(sim: Simulator, propose: Run) -> None:
    build(sim, "base-1")
    build(sim, "app-1")
    build(sim, "base-2", owner=OTHER_OWNER)

    made = propose("--owner", sim.owner_project_id, "--image-name", "base-?", output="json")

    assert made.json["spec"]["imageSelectorTerms"] == [
        {"owner": sim.owner_project_id, "name": "base-1"}
    ]
    assert made.json["kind"] == "ImageShareAcceptance"


def test_list_is_for_the_asked_owners_and_names_too(sim: Simulator, propose: Run) -> None:
    build(sim, "base-1")
    wanted = build(sim, "base-2", owner=OTHER_OWNER)
    build(sim, "app-1", owner=OTHER_OWNER)

    ended = propose("--as", "list", "--owner", OTHER_OWNER, "--image-name", "base-*", output="json")

    assert [share["image"] for share in ended.json["shares"]] == [wanted]


def test_full_server_images_are_left_out_of_the_selector(sim: Simulator, propose: Run) -> None:
    build(sim, "base-1")
    build(sim, "backup-1", whole=True)
    build(sim, "")

    made = propose().out

    assert "# Left out: 1 full-server image. Set fullServer: true in a term, and" in made
    assert "# Left out: 1 shared image without a name or a valid owner." in made
    assert len(yaml.safe_load(made)["spec"]["imageSelectorTerms"]) == 1
    rejects = propose("--decision", "Reject", output="json").json["spec"]
    assert {"owner": sim.owner_project_id, "name": "backup-1", "fullServer": True} in rejects[
        "imageSelectorTerms"
    ]


def test_selector_for_no_image_is_a_comment_or_an_empty_list(sim: Simulator, propose: Run) -> None:
    comment, manifest = propose(), propose(output="json")

    text = f"# No image is pending or accepted in project {sim.project_id}.\n"
    assert (comment.code, comment.out) == (0, text)
    assert (manifest.code, manifest.json["items"]) == (0, [])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "table"), "--as selector: requires -o yaml or -o json"),
        (("--all",), "--all: not allowed with --as selector, which always reads all shares"),
        (("--owner", "eu-de_owner"), "--owner: 'eu-de_owner' is not a project ID"),
        (("--image-name", "[ab]"), "--image-name: '[ab]' has brackets"),
    ],
)
def test_wrong_options_of_a_selector_are_named(
    propose: Run, words: tuple[str, ...], message: str
) -> None:
    ended = propose(*words)

    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_too_many_images_for_a_selector_name_the_options(sim: Simulator, propose: Run) -> None:
    sim.add_images(501, shared_with=[sim.project_id])

    ended = propose()

    assert (ended.code, ended.out) == (2, "")
    assert "501 images are shared" in ended.err
    assert "set --owner or --image-name" in ended.err
