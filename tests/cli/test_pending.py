"""`pending` against the simulated cloud: the list, and the manifest that answers it."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.command import INSECURE, Ended, Json
from envtest import binaries
from image_share_operator.cli import spec_validation
from image_share_operator.cli.pending import HEAD
from otc_simulator.client import Simulator

PUT = "PUT /v1/cloudimages/members"
Run = Callable[..., Ended]
Terminal = Callable[..., str]


@pytest.fixture
def pending(sim: Simulator, run: Run, secret: Json, tmp_path: Path) -> Run:
    """The command with everything that it needs."""
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    def pending(*words: str, **env: str) -> Ended:
        return run("pending", *where, "--secret", "secret.yaml", *words, **env)

    return pending


@pytest.fixture
def pending_in_terminal(
    sim: Simulator, terminal: Callable[..., str], secret: Json, tmp_path: Path
) -> Terminal:
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(secret))
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    def pending(columns: int, *words: str, **env: str) -> str:
        return terminal(columns, "pending", *where, "--secret", "secret.yaml", *words, **env)

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


@pytest.mark.parametrize("key", [False, True], ids=["password", "access key"])
def test_agency_lists_the_project_of_another_account(
    sim: Simulator, run: Run, tmp_path: Path, *, key: bool
) -> None:
    sim.add_agency("image-sharing", "customer")
    project = sim.add_project("eu-de_customer", domain="customer")
    image = sim.add_image(shared_with=[project])
    user = sim.add_user("agent", "pw", agent_operator=True)
    sim.add_access_key(user, "AKAGENT", "sk-agent")
    login = {"OS_USERNAME": "agent", "OS_PASSWORD": "pw", "OS_USER_DOMAIN_NAME": sim.domain}
    signed = {"OS_ACCESS_KEY": "AKAGENT", "OS_SECRET_KEY": "sk-agent"}
    agency = ("--agency", "image-sharing", "--agency-domain-name", "customer")
    words = ("--iam", sim.url, "--ims", sim.url, "--project", project, *agency, "-o", "yaml")

    ended = run("pending", *words, INSECURE, **(signed if key else login))

    assert ended.code == 0, ended.err
    spec = yaml.safe_load(ended.out)["spec"]
    assert spec["images"] == [image]
    assert spec["agency"] == {"name": "image-sharing", "domainName": "customer"}
    (tmp_path / "web.yaml").write_text(ended.out)
    checked = run("check", "web.yaml", INSECURE, **(signed if key else login))
    assert checked.code == 0, checked.out
    assert "  login        ok\n" in checked.out


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


@pytest.mark.parametrize("count", [81, 100], ids=["short last page", "full last page"])
def test_all_pages_of_a_server_with_a_lower_limit_are_listed(
    sim: Simulator, pending: Run, count: int
) -> None:
    images = sim.add_images(count, shared_with=[sim.project_id])
    sim.settings(max_limit=20)

    ended = pending("-o", "json")

    assert sorted(share["image"] for share in ended.json["shares"]) == sorted(images)


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


def test_missing_permission_is_reported(sim: Simulator, pending: Run) -> None:
    sim.change_user(policies={sim.project_id: ["get", "share"]})

    ended = pending()

    assert ended.code == 1
    assert "GET /v2/cloudimages: HTTP 403" in ended.err


def test_half_a_list_is_never_shown(sim: Simulator, pending: Run) -> None:
    sim.add_images(501, shared_with=[sim.project_id])
    sim.fault("GET /v2/cloudimages", when={"nth": 2}, status=503)

    ended = pending()

    assert (ended.code, ended.out) == (3, "")


def test_list_that_changes_while_it_is_read_is_reported(sim: Simulator, pending: Run) -> None:
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


PLACE = ("--region", "eu-de", "--project", "a" * 32)
WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "a project by name": (
        ("--region", "eu-de", "--project", "eu-de_team"),
        '--project: Invalid value: "eu-de_team": must be a project ID',
    ),
    "a region that is not known": (
        ("--region", "eu-ch2", "--project", "a" * 32),
        "--region: 'eu-ch2' is unknown; use eu-de or eu-nl, or set --iam and --ims",
    ),
    "only --iam": (("--iam", "https://x", "--project", "a" * 32), "--ims is required with --iam"),
    "only --ims": (("--ims", "https://x", "--project", "a" * 32), "--iam is required with --ims"),
    "no place": (
        ("--project", "a" * 32),
        "--region is required: set it to eu-de or eu-nl, or set --auth-url, or --iam and --ims",
    ),
    "two places": ((*PLACE, "--iam", "https://x"), "--region: not allowed with --iam and --ims"),
    "an endpoint with a path": (
        ("--iam", "https://x/v3", "--ims", "https://x", "--project", "a" * 32),
        '--iam: Invalid value: "https://x/v3": must have the form https://HOST',
    ),
    "an endpoint without TLS": (
        ("--iam", "http://x", "--ims", "http://x", "--project", "a" * 32),
        "--iam, --ims: http:// requires --allow-insecure-endpoints",
    ),
    "a Secret in upper case": ((*PLACE, "--secret-name", "A"), '--secret-name: Invalid value: "A"'),
    "an agency without its account": ((*PLACE, "--agency", "g"), "--agency-domain-name: Required"),
    "an account without its agency": (
        (*PLACE, "--agency-domain-name", "customer"),
        "--agency: Required value",
    ),
    "an agency of OpenStack": (
        ("--auth-url", "https://k", *PLACE[2:], "--agency", "g", "--agency-domain-name", "d"),
        "--agency: Forbidden: agency is for the Open Telekom Cloud",
    ),
    "a name in upper case": ((*PLACE, "--name", "A"), "--name: 'A' is not a valid name"),
    "no credentials": (PLACE, "no credentials: set --secret"),
    "no project": (("--region", "eu-de"), "--project"),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG)
def test_wrong_command_line_is_reported_by_its_options(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    ended = run("pending", *words)

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert "spec." not in ended.err


def test_manifest_has_the_texts_that_kubectl_reads(sim: Simulator, run: Run, secret: Json) -> None:
    """Names and IDs that look like numbers in one dialect of YAML or another."""
    project = "12345678901234567890123456789e12"
    sim.seed(accounts=[{"name": sim.domain, "projects": [{"id": project, "name": "eu-de_e12"}]}])
    image = sim.add_image(
        shared_with=[project], id="12345678-1234-1234-1234-123456789e12", name="a: b #c '\""
    )
    where = ("--iam", sim.url, "--ims", sim.url, "--project", project, INSECURE)
    named = ("--name", "1e3", "--namespace", "0x1f", "--secret-name", "1.5")

    ended = run(
        "pending", *where, *named, "-o", "yaml", "--secret", "-", stdin=yaml.safe_dump(secret)
    )

    assert ended.code == 0, ended.err
    by_kubectl = subprocess.run(
        [binaries.directory() / "kubectl", "label", "--local", "-f-", "-ojson", "a=b"],
        input=ended.out,
        capture_output=True,
        text=True,
        check=True,
    )
    manifest = json.loads(by_kubectl.stdout)
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("1e3", "0x1f")
    assert (manifest["spec"]["projectID"], manifest["spec"]["images"]) == (project, [image])
    assert manifest["spec"]["credentialsSecretRef"] == {"name": "1.5"}


LONG = "ubuntu-24.04-hardened-with-a-name-of-its-own"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("columns", [80, 120])
def test_terminal_shows_ids_and_names_whole(
    sim: Simulator, pending_in_terminal: Terminal, columns: int
) -> None:
    image = sim.add_image(shared_with=[sim.project_id], name=LONG[:42])

    lines = ESCAPES.sub("", pending_in_terminal(columns)).splitlines()

    assert [len(line) for line in lines if len(line) > columns] == []
    assert lines[1].split()[:2] == [image, LONG[:42]]
    shown = {80: ["IMAGE", "NAME"], 120: ["IMAGE", "NAME", "OWNER"]}
    assert lines[0].split() == shown[columns]
    assert "Use -o wide to show them." in lines[-1]


def test_terminal_with_space_for_one_column_shows_the_share_of_all(
    sim: Simulator, pending_in_terminal: Terminal
) -> None:
    for status in ("pending", "accepted"):
        sim.add_image(shared_with=[sim.project_id], status=status, name="base")

    shown = ESCAPES.sub("", pending_in_terminal(80, "--all"))

    assert shown.splitlines()[0].split() == ["IMAGE", "NAME", "SHARE"]


def test_error_in_a_terminal_is_wrapped_between_words(terminal: Terminal) -> None:
    lines = terminal(80, "pending", "--project", "a" * 32).splitlines()

    assert [line for line in lines if len(line) > 80] == []
    assert {"--iam", "--ims"} <= {word for line in lines for word in line.split()}


def test_name_wider_than_the_terminal_is_not_cut(
    sim: Simulator, pending_in_terminal: Terminal
) -> None:
    sim.add_image(shared_with=[sim.project_id], name=LONG)

    assert LONG in pending_in_terminal(80)


def test_wide_shows_all_columns_in_each_terminal(
    sim: Simulator, pending_in_terminal: Terminal
) -> None:
    sim.add_image(shared_with=[sim.project_id], name=LONG)

    shown = ESCAPES.sub("", pending_in_terminal(80, "-o", "wide"))

    assert shown.splitlines()[0].split() == list(HEAD)
    assert sim.owner_project_id in shown


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colours_obey_no_color(
    sim: Simulator, pending_in_terminal: Terminal, env: dict[str, str], coloured: bool
) -> None:
    sim.add_image(shared_with=[sim.project_id])

    shown = pending_in_terminal(200, **env)

    assert ("\x1b[33m" in shown, "\x1b" in shown) == (coloured, coloured)


def test_pipe_has_one_line_for_each_row_with_all_columns(sim: Simulator, pending: Run) -> None:
    images = sim.add_images(3, shared_with=[sim.project_id])

    lines = pending(COLUMNS="40").out.splitlines()

    assert lines[0].split() == list(HEAD)
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(images)
