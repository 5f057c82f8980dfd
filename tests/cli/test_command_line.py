"""The command line itself: defaults, help, what is loaded, and what it never shows."""

import base64
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import pytest
import yaml

from cli.command import INSECURE, Ended, Json
from cli.conftest import ROOT
from e2e.conftest import document
from e2e.test_crd_validation import ACCEPTED, REFUSED
from image_share_operator import __version__
from image_share_operator.cli import arguments, output, spec_validation
from otc_simulator.client import Simulator

Run = Callable[..., Ended]
MARK = "5ecretMark0"
UNKNOWN_LEVEL = (
    "--log-level='loud': 'loud' is invalid; use one of debug, info, warning, error, or set the "
    "level of a component (objects, cloud, events, lease, watch), such as cloud=debug"
)
WRONG_SHARD = (
    "--shard='3/3': must have the form index/count, with an index less than the count, such as 0/3"
)


@pytest.mark.parametrize("words", [[], ["--allow-insecure-endpoints"], ["--shard", "0/2"]])
def test_without_a_command_the_operator_runs(words: list[str]) -> None:
    assert arguments.parse(words).command == "run"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--log-level", "loud"), UNKNOWN_LEVEL),
        (("run", "--shard", "3/3"), WRONG_SHARD),
    ],
)
def test_option_goes_before_its_variable_and_is_checked(
    run: Run, words: tuple[str, ...], told: str
) -> None:
    ended = run(*words, ISA_LOG_LEVEL="info", ISA_SHARD="0/1")

    assert (ended.code, ended.err) == (2, f"image-share-operator: {told}\n")


def test_variable_is_named_when_no_option_is_set(run: Run) -> None:
    ended = run("version", ISA_LOG_LEVEL="loud")

    assert ended.code == 2
    assert ended.err.startswith("image-share-operator: ISA_LOG_LEVEL='loud': 'loud' is invalid")


def test_version_is_printed(run: Run, start: Run) -> None:
    assert start("version").out == run("version").out == run("--version").out == f"{__version__}\n"
    assert run("version", "-o", "json").json["version"] == __version__
    assert yaml.safe_load(run("version", "-o", "yaml").out)["api"] == "ims.otc.dev/v1alpha1"


@pytest.mark.parametrize("command", ["check", "pending"])
def test_help_has_examples_and_exit_codes(run: Run, command: str) -> None:
    told = run(command, "--help").out

    assert f"  image-share-operator {command} " in told
    assert "exit codes:\n  0  success" in told


LOADED = "import sys, {module}; print([m for m in {heavy} if m in sys.modules])"


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("image_share_operator.cli.commands", ["kopf", "kubernetes", "openstack"]),
        ("image_share_operator.__main__", ["kopf", "kubernetes", "httpx", "yaml"]),
        ("image_share_operator.process", ["image_share_operator.cli.commands", "openstack"]),
    ],
)
def test_each_command_loads_only_what_it_needs(module: str, heavy: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module, heavy=heavy)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "operator")},
        check=True,
    )

    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_api_server_refuses_is_refused_in_its_words(changes: Json, words: str) -> None:
    assert words in "; ".join(spec_validation.faults(document(**changes)["spec"]))


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_the_api_server_takes_is_taken(changes: Json) -> None:
    assert spec_validation.faults(document(**changes)["spec"]) == []


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert output.plain(("A", "LONG"), [("wide", "x"), ("b", "")]) == "A     LONG\nwide  x\nb\n"


BAD_FILES: dict[str, tuple[str, str]] = {
    "broken YAML": (f"a: [{MARK}", "not valid YAML (line 1)"),
    "a list": (f"- {MARK}", "not a Kubernetes manifest"),
    "a Secret that is not base64": (
        f"{{apiVersion: v1, kind: Secret, metadata: {{name: s}}, data: {{password: '{MARK}!'}}}}",
        "data.password is not valid base64",
    ),
    "a number as password": (
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {password: 5}}",
        "stringData.password must be a string; quote the value",
    ),
    "no resource": ("{apiVersion: v1, kind: ConfigMap}", "found no ImageShareAcceptance in"),
    "nothing": ("", "found no ImageShareAcceptance in"),
}


@pytest.mark.parametrize(("text", "told"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_file_is_reported_in_one_line_without_its_content(
    run: Run, text: str, told: str
) -> None:
    ended = run("check", "-", stdin=text)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("image-share-operator: ")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert MARK not in ended.err


KEYS: dict[str, dict[str, str]] = {
    "a wrong password": {"username": "u", "password": MARK, "domainName": "D"},
    "a dead token": {"token": f"MII{MARK}"},
    "a token with a line end": {"token": f"MII{MARK}\n{MARK}"},
    "no domain": {"username": "u", "password": MARK},
    "a broken clouds.yaml": {"clouds.yaml": f"clouds: [{MARK}"},
    "a clouds.yaml without a user": {
        "clouds.yaml": f"clouds: {{a: {{auth: {{password: {MARK}}}}}}}"
    },
    "a certificate that is none": {"token": "t", "ca.crt": MARK},
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_no_secret_is_ever_shown(
    sim: Simulator, run: Run, write: Callable[..., str], secret: Json, keys: Json, form: str
) -> None:
    del secret["stringData"]
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in keys.items()}
    image = sim.add_image(shared_with=[sim.project_id])
    file = write(image, with_secret={**secret, "data": encoded})
    where = ("--iam", sim.url, "--ims", sim.url, "--project", sim.project_id, INSECURE)

    ended = [
        run("check", file, INSECURE, "-o", form),
        run("pending", *where, "--secret", file, "-o", form),
    ]

    assert all(one.code in (1, 2) for one in ended), ended
    told = "".join(one.out + one.err for one in ended)
    assert MARK not in told
    assert base64.b64encode(MARK.encode()).decode()[:12] not in told
    assert "Traceback" not in told


DRAW = """
import sys
{first}
from image_share_operator.cli import output
output.table(("IMAGE", "IS"), [("[bold]a", "accepted")])
"""


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("", "[bold]a  \x1b[32maccepted\x1b[0m"),
        ("sys.modules['rich'] = sys.modules['rich.console'] = None", "[bold]a  accepted"),
    ],
    ids=["with rich in colours", "without rich plain"],
)
def test_table_in_a_terminal(first: str, expected: str) -> None:
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", DRAW.format(first=first)],
        stdout=theirs,
        env={"PYTHONPATH": str(ROOT / "operator"), "TERM": "xterm"},
        check=True,
    )
    os.close(theirs)
    drawn = os.read(ours, 4096).decode()
    os.close(ours)

    assert expected in drawn
