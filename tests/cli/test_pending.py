"""`pending` against the simulated cloud: the list, and the manifest that answers it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.command import INSECURE, Ended, Json
from image_share_operator.cli import spec_validation
from otc_simulator.client import Simulator

PUT = "PUT /v1/cloudimages/members"
Run = Callable[..., Ended]


@pytest.fixture
def pending(sim: Simulator, run: Run, secret: Json, tmp_path: Path) -> Run:
    """The command with everything that it needs."""
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    def pending(*words: str, **env: str) -> Ended:
        return run("pending", *where, "--secret", "secret.yaml", *words, **env)

    return pending


def test_only_pending_shares_of_others_are_listed(sim: Simulator, pending: Run) -> None:
    mine = [sim.project_id]
    waiting = sim.add_image(shared_with=mine, name="ubuntu-24.04")
    sim.add_image(shared_with=mine, status="accepted")
    sim.add_image(owner=sim.project_id, shared_with=[sim.owner_project_id])

    ended = pending("-o", "json")

    assert ended.code == 0, ended.err
    (share,) = ended.json["shares"]
    assert (share["image"], share["membership"]) == (waiting, "pending")
    assert (share["name"], share["owner"]) == ("ubuntu-24.04", sim.owner_project_id)


def test_all_lists_answered_shares_too(sim: Simulator, pending: Run) -> None:
    for status in ("rejected", "accepted", "pending"):
        sim.add_image(shared_with=[sim.project_id], status=status)

    ended = pending("--all", "-o", "json")

    assert [share["membership"] for share in ended.json["shares"]] == [
        "pending",
        "accepted",
        "rejected",
    ]


def test_shares_beyond_the_first_page_are_listed(sim: Simulator, pending: Run) -> None:
    images = sim.add_images(501, shared_with=[sim.project_id])

    ended = pending("-o", "yaml")

    documents = list(yaml.safe_load_all(ended.out))
    assert [one["metadata"]["name"] for one in documents] == [
        "pending-shares-1",
        "pending-shares-2",
    ]
    assert sorted(i for one in documents for i in one["spec"]["images"]) == sorted(images)


def test_cloud_that_hides_pending_shares_from_its_filter_is_understood(
    sim: Simulator, pending: Run
) -> None:
    sim.settings(imagetype_hides_pending=True)
    image = sim.add_image(shared_with=[sim.project_id])

    ended = pending("-o", "json")

    assert [share["image"] for share in ended.json["shares"]] == [image]


def test_manifest_is_valid_and_answers_all(
    sim: Simulator, pending: Run, run: Run, tmp_path: Path
) -> None:
    image = sim.add_image(shared_with=[sim.project_id], name="base")

    ended = pending("-o", "yaml", "--name", "base-images", "--namespace", "team-a")

    assert ended.code == 0, ended.err
    manifest = yaml.safe_load(ended.out)
    assert spec_validation.faults(manifest["spec"]) == []
    assert manifest["metadata"] == {"name": "base-images", "namespace": "team-a"}
    assert manifest["spec"]["images"] == [image]
    assert f"- {image} # base, owner {sim.owner_project_id}" in ended.out
    (tmp_path / "made.yaml").write_text(ended.out)
    checked = run("check", "made.yaml", "--secret", "secret.yaml", INSECURE)
    assert checked.code == 0, checked.out
    assert sim.calls(PUT) == 0


def test_name_of_a_foreign_image_can_do_no_harm(sim: Simulator, pending: Run) -> None:
    image = sim.add_image(shared_with=[sim.project_id], name="x\x1b[2J\n  - injected: true")

    manifest, table = pending("-o", "yaml").out, pending().out

    assert yaml.safe_load(manifest)["spec"]["images"] == [image]
    assert "\x1b" not in manifest + table


def test_nothing_pending_is_fine(sim: Simulator, pending: Run) -> None:
    ended = pending()

    assert (ended.code, ended.out) == (0, f"No image is pending in project {sim.project_id}.\n")


def test_missing_right_is_told(sim: Simulator, pending: Run) -> None:
    sim.change_user(policies={sim.project_id: ["get", "share"]})

    ended = pending()

    assert ended.code == 1
    assert "GET /v2/cloudimages: HTTP 403" in ended.err


def test_half_a_list_is_never_shown(sim: Simulator, pending: Run) -> None:
    sim.add_images(501, shared_with=[sim.project_id])
    sim.fault("GET /v2/cloudimages", when={"nth": 2}, status=503)

    ended = pending()

    assert (ended.code, ended.out) == (3, "")


def test_list_that_changes_while_it_is_read_is_told(sim: Simulator, pending: Run) -> None:
    """What a page goes on after has been answered by someone meanwhile."""
    sim.add_images(501, shared_with=[sim.project_id])
    sim.fault("GET /v2/cloudimages", when={"nth": 2}, status=400)

    ended = pending()

    assert (ended.code, ended.out) == (3, "")
    assert "the list of shares changed while it was read; run the command again" in ended.err


CLOUDS = """
clouds:
  otc:
    auth: {{username: {user}, password: {password}, user_domain_name: {domain}, auth_url: http://x}}
"""


@pytest.mark.parametrize("how", ["--os-cloud", "OS_CLOUD"])
def test_clouds_yaml_of_the_person_serves(
    sim: Simulator, start: Run, tmp_path: Path, how: str
) -> None:
    """The library reads HOME and the directory when it is imported."""
    image = sim.add_image(shared_with=[sim.project_id])
    text = CLOUDS.format(user=sim.user, password=sim.password, domain=sim.domain)
    (tmp_path / "clouds.yaml").write_text(text)
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)
    words, env = (("--os-cloud", "otc"), {}) if how == "--os-cloud" else ((), {"OS_CLOUD": "otc"})

    ended = start("pending", *where, *words, "-o", "json", **env)

    assert ended.code == 0, ended.err
    assert [share["image"] for share in ended.json["shares"]] == [image]
    assert ended.err == ""


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a project by name": (("--region", "eu-de", "--project", "eu-de_team"), "spec.projectID"),
    "a region that is not known": (("--region", "eu-xx", "--project", "a" * 32), "spec.region"),
    "one endpoint": (("--iam", "https://x", "--project", "a" * 32), "spec.endpoints.ims"),
    "no place": (("--project", "a" * 32), "spec.region: Required value"),
    "no credentials": (("--region", "eu-de", "--project", "a" * 32), "no credentials"),
    "no project": (("--region", "eu-de"), "--project"),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG)
def test_wrong_command_line_is_told(run: Run, words: tuple[str, ...], told: str) -> None:
    ended = run("pending", *words)

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
