"""`status`, `reconcile`, `suspend` and `resume` against a real API server; no operator runs."""

import os
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.commands import Command, command
from e2e.conftest import (
    DEPLOY,
    RESOURCES,
    Json,
    apply_status,
    document,
    full_status,
    patch_spec,
    read,
)
from envtest import ControlPlane, binaries
from image_share_operator.api import status_json
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import Condition, ConditionType, Status

__all__ = ["command"]

ROOT = DEPLOY.parent
MESSAGE = "Image 4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90 is not shared with the project."


def condition(kind: ConditionType, value: str, reason: Reason, message: str = "") -> Condition:
    row = full_status().conditions[0]
    return replace(row, type=kind, status=value, reason=reason, message=message)


READY = condition(ConditionType.READY, "True", Reason.ACCEPTED, "Accepted 1 of 1 images.")
NOT_READY = condition(ConditionType.READY, "False", Reason.NOT_SHARED, MESSAGE)


def make(
    control_plane: ControlPlane, namespace: str, name: str, *conditions: Condition, **spec: Any
) -> Json:
    """Create a resource, with a status of these conditions."""
    body = {**document(**spec), "metadata": {"name": name}}
    path = RESOURCES.format(namespace=namespace)
    made: Json = control_plane.http.post(path, json=body).raise_for_status().json()
    if conditions:
        status = Status(observed_generation=1, conditions=conditions, summary="1/1")
        apply_status(control_plane, made, status_json.write(status)).raise_for_status()
    return made


@pytest.fixture
def where(control_plane: ControlPlane, namespace: str) -> tuple[object, ...]:
    return ("--kubeconfig", control_plane.admin_kubeconfig, "-n", namespace)


def test_status_lists_resources_and_ends_with_zero_when_all_are_ready(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    make(control_plane, namespace, "web", READY)

    ended = command("status", *where)

    head, row = ended.out.splitlines()
    assert head.split() == ["NAME", "DECISION", "READY", "REASON", "IMAGES", "AGE"]
    assert row.split()[:5] == ["web", "Accept", "True", "Accepted", "1/1"]
    assert (ended.code, ended.err) == (0, "")


def test_status_shows_messages_below_and_ends_with_one(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    make(control_plane, namespace, "good", READY)
    make(control_plane, namespace, "waits", NOT_READY)

    ended = command("status", *where)

    assert ended.code == 1
    assert ended.out.splitlines()[3:] == ["", f"waits: {MESSAGE}"]


def test_status_of_an_older_spec_is_not_ready(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    made = make(control_plane, namespace, "web", READY)
    patch_spec(control_plane, made, interval="5m").raise_for_status()

    assert command("status", *where).code == 1


def test_status_reads_a_status_that_it_does_not_know(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    """The operator may be newer than the command."""
    made = make(control_plane, namespace, "web")
    newer = status_json.write(Status(observed_generation=1, conditions=(READY,)))
    newer["conditions"][0]["reason"] = "ReasonOfTheFuture"
    apply_status(control_plane, made, newer).raise_for_status()

    ended = command("status", *where)

    assert "ReasonOfTheFuture" in ended.out
    assert ended.code == 0


def test_status_of_all_namespaces_names_them(
    control_plane: ControlPlane, namespace: str, command: Command
) -> None:
    make(control_plane, namespace, "web", READY)

    ended = command("status", "-A", "--kubeconfig", control_plane.admin_kubeconfig, "-o", "wide")

    head, *rows = ended.out.splitlines()
    assert head.split()[:2] == ["NAMESPACE", "NAME"]
    assert head.split()[-2:] == ["PROJECT", "MESSAGE"]
    assert [namespace, "web"] in [row.split()[:2] for row in rows]


def test_status_as_json_has_all_fields(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    make(control_plane, namespace, "web", READY)

    (row,) = command("status", "web", *where, "-o", "json").json["resources"]

    assert (row["name"], row["ready"], row["reason"]) == ("web", "True", "Accepted")
    assert (row["current"], row["suspended"], row["stalled"]) == (True, False, False)


def test_name_that_does_not_exist_is_reported(
    namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    ended = command("status", "absent", *where)

    assert ended.code == 1
    assert f"imageshareacceptances 'absent' not found in namespace {namespace}" in ended.err


@pytest.mark.parametrize("more", [[], ["-o", "json"]])
def test_namespace_without_resources_is_fine(
    command: Command, where: tuple[object, ...], more: list[str]
) -> None:
    ended = command("status", *where, *more)

    assert ended.code == 0
    assert ended.out in ("No resources found.\n", '{\n  "resources": []\n}\n')


def test_suspend_and_resume_patch_the_spec_once(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    made = make(control_plane, namespace, "web", READY)

    told = [
        command(verb, "web", *where, *more).out
        for verb, more in (("suspend", ()), ("suspend", ()), ("resume", ("--no-wait",)))
    ]

    assert told == [
        f"{namespace}/web: {did}\n" for did in ("suspended", "already suspended", "resumed")
    ]
    stored = read(control_plane, made)
    assert stored["metadata"]["generation"] == 3
    assert stored["spec"] == made["spec"]
    managers = {row["manager"] for row in stored["metadata"]["managedFields"]}
    assert "image-share-operator-cli" in managers


def test_suspend_all_suspends_all_of_the_namespace(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    made = [make(control_plane, namespace, name) for name in ("one", "two")]

    assert command("suspend", "--all", *where).code == 0

    assert [read(control_plane, row)["spec"]["suspend"] for row in made] == [True, True]


def test_reconcile_without_an_operator_ends_with_three(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    made = make(control_plane, namespace, "web", READY)

    ended = command("reconcile", "web", *where, "--timeout", "1s")

    assert ended.code == 3
    assert "not Ready or Stalled after 1 s: the operator did not handle the request" in ended.err
    assert "ims.otc.dev/reconcile-at" in read(control_plane, made)["metadata"]["annotations"]


def test_reconcile_of_a_suspended_resource_sends_nothing(
    control_plane: ControlPlane, namespace: str, command: Command, where: tuple[object, ...]
) -> None:
    made = make(control_plane, namespace, "web", suspend=True)

    ended = command("reconcile", "web", *where)

    assert ended.code == 1
    assert ended.out == f"{namespace}/web: suspended; run resume to reconcile it\n"
    assert "annotations" not in read(control_plane, made)["metadata"]


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "reconcile of nothing": (("reconcile",), "reconcile: set NAME or --all"),
    "a name and all": (("suspend", "web", "--all"), "--all: not allowed with NAME"),
    "a name in all namespaces": (("status", "web", "-A"), "-A: not allowed with NAME"),
    "a namespace and all": (("status", "-A", "-n", "x"), "-A: not allowed with --namespace"),
    "a timeout without a unit": (
        ("reconcile", "--all", "--timeout", "5"),
        "argument --timeout: '5' is not a duration such as 10m or 1h30m",
    ),
    "no kubeconfig": (
        ("status", "--kubeconfig", "/absent/config"),
        "no kubeconfig at /absent/config; set --kubeconfig or KUBECONFIG",
    ),
}


@pytest.mark.parametrize(("words", "told"), WRONG.values(), ids=WRONG)
def test_wrong_command_line_is_reported(
    command: Command, words: tuple[str, ...], told: str
) -> None:
    ended = command(*words)

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_unknown_context_is_reported(control_plane: ControlPlane, command: Command) -> None:
    ended = command("status", "--kubeconfig", control_plane.admin_kubeconfig, "--context", "prod")

    assert ended.code == 2
    assert "prod" in ended.err


@pytest.mark.parametrize("text", ["", "[", "clusters: [{}]", "5"])
def test_broken_kubeconfig_is_reported_in_one_line(
    command: Command, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "config"
    file.write_text(text)

    ended = command("status", "--kubeconfig", file)

    assert ended.code == 2
    assert ended.err.startswith(f"image-share-operator: kubeconfig {file} is not usable: ")
    assert ended.err.count("\n") == 1


def test_context_gives_the_namespace(
    control_plane: ControlPlane, namespace: str, command: Command, tmp_path: Path
) -> None:
    make(control_plane, namespace, "web", READY)
    config = yaml.safe_load(control_plane.admin_kubeconfig.read_text())
    (context,) = config["contexts"]
    config["contexts"].append(
        {"name": "team", "context": {**context["context"], "namespace": namespace}}
    )
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(config))

    ended = command("status", "--kubeconfig", file, "--context", "team")

    assert ended.out.splitlines()[1].split()[0] == "web"


def test_api_server_that_is_down_ends_with_three(
    control_plane: ControlPlane, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "config"
    text = control_plane.admin_kubeconfig.read_text()
    file.write_text(text.replace(control_plane.url, "https://127.0.0.1:9"))

    ended = command("status", "--kubeconfig", file)

    assert ended.code == 3
    assert "no response from the API server" in ended.err


def test_missing_permission_of_the_user_of_kubectl_is_reported(
    control_plane: ControlPlane, namespace: str, command: Command
) -> None:
    kubeconfig = control_plane.service_account_kubeconfig(namespace, "nobody")

    ended = command("status", "--kubeconfig", kubeconfig, "-n", namespace)

    assert ended.code == 1
    assert ended.err == (
        f"image-share-operator: list imageshareacceptances in namespace {namespace}: HTTP 403: "
        "the user of the kubeconfig lacks this permission\n"
    )


@pytest.fixture
def plugin(control_plane: ControlPlane, tmp_path: Path) -> dict[str, str]:
    """The environment of a user who installed the package: the script is in the PATH."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["kubectl-isa"].partition(":")
    script = tmp_path / "kubectl-isa"
    source = f"import sys; from {module} import {function}; sys.exit({function}())"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(source)} "$@"\n')
    script.chmod(0o755)
    return {
        "PATH": f"{binaries.directory()}:{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(control_plane.admin_kubeconfig),
    }


def test_kubectl_finds_the_plugin_by_its_name(
    control_plane: ControlPlane, namespace: str, plugin: dict[str, str]
) -> None:
    make(control_plane, namespace, "web", READY)

    ended = subprocess.run(
        ["kubectl", "isa", "status", "-n", namespace],
        env=plugin,
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout.splitlines()[1].split()[:4] == ["web", "Accept", "True", "Accepted"]


def test_plugin_without_a_command_does_not_run_the_operator(plugin: dict[str, str]) -> None:
    ended = subprocess.run(
        ["kubectl", "isa"], env=plugin, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("usage: kubectl isa ")
