"""`check` against the simulated cloud: what is, what would be done, and that nothing is done."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli.command import INSECURE, Ended, Json
from otc_simulator.client import Simulator

PUT = "PUT /v1/cloudimages/members"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LOGIN = "POST /v3/auth/tokens"
Run = Callable[..., Ended]
Write = Callable[..., str]


def check(run: Run, *files: str, **env: str) -> Ended:
    return run("check", *files, INSECURE, "-o", "json", **env)


def actions(ended: Ended) -> list[tuple[str, str]]:
    (resource,) = ended.json["resources"]
    return [(image["membership"], image["action"]) for image in resource["images"]]


def test_check_tells_each_image_and_sends_nothing(sim: Simulator, run: Run, write: Write) -> None:
    mine = [sim.project_id]
    pending = sim.add_image(shared_with=mine)
    accepted = sim.add_image(shared_with=mine, status="accepted")
    foreign = sim.add_image()

    ended = check(run, write(pending, accepted, foreign))

    assert ended.code == 1
    assert actions(ended) == [
        ("pending", "accept"),
        ("accepted", "nothing"),
        ("notShared", "waitForShare"),
    ]
    assert sim.calls(PUT) == 0
    assert sim.membership(pending, sim.project_id) == "pending"


def test_check_of_what_would_succeed_ends_with_zero(sim: Simulator, run: Run, write: Write) -> None:
    images = sim.add_images(60, shared_with=[sim.project_id])

    ended = check(run, write(*images))

    assert ended.code == 0, ended.out
    (resource,) = ended.json["resources"]
    assert resource["step"] == "Would accept 60 of 60 images in 2 batches."
    assert resource["rights"] == {
        "ims:images:get": "yes",
        "ims:images:list": "yes",
        "ims:images:share": "notTried",
    }
    assert sim.calls(PUT) == 0


def test_check_counts_no_batches_for_glance(sim: Simulator, run: Run, write: Write) -> None:
    image = sim.add_image(shared_with=[sim.project_id])

    ended = check(run, write(image, endpoints=None, openstack={"authURL": f"{sim.url}/v3"}))

    (resource,) = ended.json["resources"]
    assert resource["step"] == "Would accept 1 of 1 images."


def test_check_names_the_policy_rules_of_glance(sim: Simulator, run: Run, write: Write) -> None:
    openstack = {"authURL": f"{sim.url}/v3"}
    manifest = write(sim.add_image(), endpoints=None, openstack=openstack, with_secret=None)

    ended = check(run, manifest)

    (resource,) = ended.json["resources"]
    assert resource["rights"] == {
        "get_member": "unknown",
        "get_images": "unknown",
        "modify_member": "notTried",
    }


@pytest.mark.parametrize(
    ("vault", "code", "message"),
    [
        (None, 1, "a full-server image: set spec.vaultID, or IMS refuses it"),
        ("9b0a5c6d-1f2e-4a3b-8c7d-6e5f4a3b2c1d", 0, None),
    ],
    ids=["without a vault", "with a vault"],
)
def test_check_knows_full_server_images_before_anything_is_sent(
    sim: Simulator, run: Run, write: Write, vault: str | None, code: int, message: str | None
) -> None:
    whole = sim.add_image(shared_with=[sim.project_id], whole=True)
    changes = {} if vault is None else {"vaultID": vault}

    ended = check(run, write(whole, **changes))

    (row,) = ended.json["resources"][0]["images"]
    assert (ended.code, row["action"], row["message"]) == (code, "accept", message)


def test_check_rejects_what_is_accepted(sim: Simulator, run: Run, write: Write) -> None:
    image = sim.add_image(shared_with=[sim.project_id], status="accepted")

    ended = check(run, write(image, decision="Reject"))

    assert (ended.code, actions(ended)) == (0, [("accepted", "reject")])


def test_check_of_a_suspended_resource_tells_what_is_and_does_nothing(
    sim: Simulator, run: Run, write: Write
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])

    ended = check(run, write(image, suspend=True))

    assert (ended.code, actions(ended)) == (0, [("pending", "nothing")])
    assert "Suspended" in ended.json["resources"][0]["step"]


@pytest.mark.parametrize(
    ("right", "name"), [("get", "ims:images:get"), ("list", "ims:images:list")]
)
def test_check_names_the_right_that_is_missing(
    sim: Simulator, run: Run, write: Write, right: str, name: str
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    sim.change_user(policies={sim.project_id: sorted({"get", "list", "share"} - {right})})

    ended = check(run, write(image))

    assert ended.code == 1
    (resource,) = ended.json["resources"]
    assert [key for key, held in resource["rights"].items() if held == "no"] == [name]
    assert "403" in resource["trouble"]


def test_wrong_password_is_reported_and_sent_once_for_all_resources(
    sim: Simulator, run: Run, write: Write, secret: Json
) -> None:
    secret["stringData"]["password"] = "not-the-password"
    file = write(sim.add_image(), with_secret=secret)

    ended = check(run, file, file, file)

    assert ended.code == 1
    assert [one["login"] for one in ended.json["resources"]] == [False] * 3
    assert "IAM login of user " in ended.json["resources"][0]["trouble"]
    assert sim.calls(LOGIN) == 1


def test_wrong_password_is_reported_and_sent_twice_for_many_projects(
    sim: Simulator, run: Run, write: Write, secret: Json, tmp_path: Path
) -> None:
    secret["stringData"]["password"] = "not-the-password"
    files = list[str]()
    for number in range(7):
        made = write(sim.add_image(), with_secret=secret, projectID=f"{number:032x}")
        files.append((tmp_path / made).rename(tmp_path / f"{number}.yaml").name)

    ended = check(run, *files)

    assert [one["login"] for one in ended.json["resources"]] == [False] * 7
    assert "login skipped" in ended.json["resources"][6]["trouble"]
    assert sim.calls(LOGIN) == 2


def other_name(secret: Json) -> None:
    secret["metadata"]["name"] = "otc"


def missing_key(secret: Json) -> None:
    del secret["stringData"]["domainName"]


def refused_token(secret: Json) -> None:
    secret["stringData"] = {"token": "MIIgone"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_name, "Secrets in the files: otc"),
        (missing_key, "key domainName is missing"),
        (refused_token, "HTTP 401"),
    ],
)
def test_unusable_secret_is_reported(
    sim: Simulator,
    run: Run,
    write: Write,
    secret: Json,
    change: Callable[[Json], None],
    message: str,
) -> None:
    change(secret)

    ended = check(run, write(sim.add_image(shared_with=[sim.project_id]), with_secret=secret))

    assert ended.code == 1
    assert ended.json["resources"][0]["login"] in (False, None)
    assert message in ended.json["resources"][0]["trouble"]


def test_cloud_that_is_down_ends_with_three(sim: Simulator, run: Run, write: Write) -> None:
    file = write(sim.add_image(shared_with=[sim.project_id]))
    sim.fault(MEMBER, status=503)

    ended = check(run, file)

    assert ended.code == 3
    assert "HTTP 503" in ended.json["resources"][0]["trouble"]


def test_endpoint_without_a_server_exits_with_three(run: Run, write: Write) -> None:
    nowhere = "http://127.0.0.1:9"

    ended = check(
        run,
        write("4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90", endpoints={"iam": nowhere, "ims": nowhere}),
    )

    assert ended.code == 3
    assert (
        "no connection to 127.0.0.1:9: connection refused" in ended.json["resources"][0]["trouble"]
    )


def test_all_errors_of_a_spec_are_reported_without_a_cloud_request(
    sim: Simulator, run: Run, write: Write
) -> None:
    ended = check(run, write("ubuntu-24.04", decision="accepted", projectID=None))

    assert ended.code == 2
    faults = "\n".join(ended.json["resources"][0]["faults"])
    assert "spec.projectID: Required value" in faults
    assert 'spec.images[0]: Invalid value: "ubuntu-24.04"' in faults
    assert 'spec.decision: Unsupported value: "accepted"' in faults
    assert sim.calls(LOGIN) == 0


def test_endpoint_in_the_clear_needs_the_option(run: Run, sim: Simulator, write: Write) -> None:
    ended = run("check", write(sim.add_image()), "-o", "json")

    assert ended.code == 2
    assert sim.calls(LOGIN) == 0


def test_secret_may_come_from_a_directory_or_the_environment_or_stdin(
    sim: Simulator, run: Run, write: Write, secret: Json, tmp_path: Path
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    file = write(image, with_secret=None)
    (tmp_path / "keys").mkdir()
    for key, value in secret["stringData"].items():
        (tmp_path / "keys" / key).write_text(f"{value}\n")
    env = {
        "OS_USERNAME": sim.user,
        "OS_PASSWORD": sim.password,
        "OS_USER_DOMAIN_NAME": sim.domain,
    }

    codes = [
        check(run, file).code,
        check(run, file, **env).code,
        check(run, file, "--secret-dir", "keys").code,
        run("check", file, "-", INSECURE, stdin=yaml.safe_dump(secret)).code,
    ]

    assert codes == [1, 0, 0, 0]


def test_login_of_a_serviceaccount_is_not_tried_without_a_cluster(
    sim: Simulator, run: Run, write: Write
) -> None:
    account = {"name": "web", "identityProvider": "p", "audience": "my(cloud)"}
    file = write(
        sim.add_image(),
        with_secret=None,
        credentialsSecretRef=None,
        endpoints=None,
        region="eu-de",
        serviceAccount=account,
    )

    ended = run("check", file)

    assert ended.code == 1
    assert "  login        not tried\n" in ended.out
    assert "  error        not tried: the login with a token of ServiceAccount web" in ended.out
    assert "Set --request-token" in ended.out
    command = "`kubectl create token web --namespace team-a --audience 'my(cloud)'`"
    assert command in ended.out
    assert run("check", file, "-o", "json").json["resources"][0]["login"] is None


def test_check_without_credentials_says_so(sim: Simulator, run: Run, write: Write) -> None:
    ended = run("check", write(sim.add_image(), with_secret=None), INSECURE)

    assert ended.code == 1
    assert "  login        no credentials\n" in ended.out
    assert "  error        no credentials: set --secret, --secret-dir or --os-cloud" in ended.out
    assert sim.calls(LOGIN) == 0


def test_unknown_region_is_reported_with_a_remedy(run: Run, write: Write) -> None:
    image = "4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90"

    ended = check(run, write(image, endpoints=None, region="eu-ch2"))

    (fault,) = ended.json["resources"][0]["faults"]
    assert "for another region, omit region and set endpoints.iam" in fault


def test_check_reads_scalars_as_kubectl_does(run: Run, write: Write, tmp_path: Path) -> None:
    file = tmp_path / write("4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90", projectID="PROJECT")
    text = file.read_text().replace("PROJECT", "12345678901234567890123456789e12")
    file.write_text(text.replace("name: web", "name: 1e3"))

    faults = check(run, file.name).json["resources"][0]["faults"]

    assert [fault.partition(":")[0] for fault in faults] == ["metadata.name", "spec.projectID"]
    assert "metadata.name in body must be of type string" in faults[0]
    assert 'spec.projectID in body must be of type string: "number"' in faults[1]


def test_null_of_an_optional_field_is_valid(
    sim: Simulator, run: Run, write: Write, tmp_path: Path
) -> None:
    file = tmp_path / write(sim.add_image(shared_with=[sim.project_id]), vaultID="EMPTY")
    text = file.read_text().replace("vaultID: EMPTY", "vaultID:\n  interval:\n  decision: ~")
    file.write_text(text)

    assert check(run, file.name).code == 0


def test_directory_stands_for_the_manifests_in_it(
    sim: Simulator, run: Run, write: Write, secret: Json, tmp_path: Path
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    below = tmp_path / "clusters/prod"
    below.mkdir(parents=True)
    (tmp_path / write(image, with_secret=None)).rename(tmp_path / "clusters/web.yml")
    (tmp_path / write(image, with_secret=None)).rename(below / "web.yaml")
    (below / "secret.json").write_text(json.dumps(secret))
    (below / "notes.txt").write_text("not: [YAML")

    flat = check(run, "-f", "clusters", "--secret", "clusters/prod/secret.json")
    deep = check(run, "-f", "clusters", "-R")
    both = check(run, "-f", "clusters/web.yml,clusters/prod", "-f", "clusters/web.yml")

    assert [row["file"] for row in flat.json["resources"]] == ["clusters/web.yml"]
    assert [row["file"] for row in deep.json["resources"]] == [
        "clusters/prod/web.yaml",
        "clusters/web.yml",
    ]
    assert [row["file"] for row in both.json["resources"]] == [
        "clusters/web.yml",
        "clusters/prod/web.yaml",
        "clusters/web.yml",
    ]
    assert (flat.code, deep.code, both.code) == (0, 0, 0)


def test_option_f_reads_stdin(sim: Simulator, run: Run, write: Write, tmp_path: Path) -> None:
    text = (tmp_path / write(sim.add_image(shared_with=[sim.project_id]))).read_text()

    assert run("check", "-f", "-", INSECURE, stdin=text).code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "no manifests: set FILE, or -f FILE"),
        (("-f", "."), ".: the directory has no .json, .yaml, .yml file; set -R to read"),
        (("-f", ".", "-R"), ".: the directory has no .json, .yaml, .yml file\n"),
        (("-f", "absent.yaml"), "absent.yaml: No such file or directory"),
    ],
)
def test_missing_manifests_are_reported(run: Run, words: tuple[str, ...], told: str) -> None:
    ended = run("check", *words)

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err


def test_terminal_shows_ids_whole_and_messages_below(
    sim: Simulator, terminal: Callable[..., str], write: Write
) -> None:
    foreign = sim.add_image()
    image = sim.add_image(shared_with=[sim.project_id])

    shown = terminal(80, "check", write(image, foreign), INSECURE, NO_COLOR="1")

    lines = shown.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert "IMAGE                                 MEMBERSHIP  ACTION" in lines
    assert f"{foreign}  notShared   waitForShare" in lines
    (below,) = [line for line in lines if line.startswith(f"  {foreign}: not shared with")]
    assert lines[lines.index(below) + 1].startswith("    ")
    assert f"{sim.project_id}:" in shown.split()


def test_wide_table_has_the_messages(
    sim: Simulator, terminal: Callable[..., str], write: Write
) -> None:
    shown = terminal(80, "check", write(sim.add_image()), INSECURE, "-o", "wide", NO_COLOR="1")

    assert f"waitForShare  not shared with project {sim.project_id}: check the image ID" in shown


def test_several_resources_end_with_the_highest_code(
    sim: Simulator, start: Run, write: Write
) -> None:
    image = sim.add_image(shared_with=[sim.project_id])
    file = write(image)
    bad = yaml.safe_dump(
        {
            "apiVersion": "ims.otc.dev/v1alpha1",
            "kind": "ImageShareAcceptance",
            "metadata": {"name": "bad"},
            "spec": {},
        }
    )

    ended = start("check", file, "-", INSECURE, "-o", "yaml", stdin=bad)

    assert ended.code == 2
    assert [one["ok"] for one in yaml.safe_load(ended.out)["resources"]] == [True, False]


def test_table_is_plain_in_a_pipe(sim: Simulator, start: Run, write: Write) -> None:
    image = sim.add_image(shared_with=[sim.project_id])

    ended = start("check", write(image), INSECURE)

    assert "\x1b" not in ended.out
    assert f"{image}  pending     accept  -" in ended.out
    assert ended.err == ""
