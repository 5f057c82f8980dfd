"""Runs the demo: a real API server, a simulated cloud and the operator.

The demo applies five resources and shows how their status changes: as a live table in a terminal,
otherwise as one line per change. Then an image owner shares an image, and another one publishes a
new build of a golden image. A narrow terminal never cuts or folds an ID, a name or a reason.
The demo stops automatically and removes all that it created. With KEEP=1 it runs until Ctrl-C.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from envtest import ROOT, ControlPlane, Operator, binaries, install_rights
from image_share_operator.cli import output
from otc_simulator.client import Simulator

NAMESPACE = "demo"
SAMPLES = ROOT / "deploy/samples"
PROJECT = "5dd3c0b24cdc4d31952c49589182a89d"
"""The recipient project."""
ACCEPTED = ["4ca46bf1-5c61-48ff-b4f3-0ad4e5e3ba90", "b5a21d8c-1f0e-4c6a-9d2b-7c8e3f4a5b6c"]
REJECTED = ["0f9e8d7c-6b5a-4c3d-8e1f-a0b1c2d3e4f5"]
NOT_SHARED = "7d1f0c9e-2b3a-4c5d-9e8f-0a1b2c3d4e5f"
"""An image that its owner shares only during the demo."""
EXTRA = "2b6d1e7f-8a90-4b1c-9d2e-3f4a5b6c7d8e"
"""An image for the tutorial; the demo does not share it."""
ENVIRONMENT = ROOT / ".tmp/demo.env"
"""The shell code that a user sources in another terminal while the demo runs."""
GOLDEN = "golden-images"
"""The resource that selects its images."""
BUILDS = {"ubuntu-24.04-20261116": 14, "ubuntu-24.04-20261123": 7}
"""Golden images that are shared from the start, and their age in days."""
NEW_BUILD = "ubuntu-24.04-20261130"
JOB_SECONDS = "1.5"
TIMEOUT_S = 60.0
POLL_S = 0.1
HEAD = ("NAME", "DECISION", "READY", "REASON", "IMAGES", "LATEST", "JOB", "MESSAGE")
DROP = ("MESSAGE", "JOB", "IMAGES", "LATEST")
"""Columns that a narrow terminal does not show, the first one first."""
LATEST_COLUMNS = (
    "GROUP:.status.latest[0].group,LATEST:.status.latest[0].name,"
    "PREVIOUS-ID:.status.latest[0].previousID"
)
COLOURS = {"True": "green", "False": "yellow", "Unknown": "dim"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """The running parts of the demo."""

    control_plane: ControlPlane
    cloud: Simulator
    operator: Operator


def main() -> int:
    """Run the demo; return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console(highlight=False, soft_wrap=True)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    try:
        with (
            tempfile.TemporaryDirectory(prefix="image-share-demo-") as scratch,
            _stage(console, Path(scratch)) as stage,
        ):
            _play(console, stage)
            if keep:
                _keep(console, stage)
    except KeyboardInterrupt:
        console.print("\nInterrupted. All processes are stopped.")
        return 130
    return 0


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


@contextlib.contextmanager
def _stage(console: Console, scratch: Path) -> Generator[Stage]:
    """Start all parts, and stop them on exit."""
    with contextlib.ExitStack() as stack:
        with _timed(console, "etcd and kube-apiserver"):
            control_plane = stack.enter_context(ControlPlane())
        with _timed(console, "the simulated Open Telekom Cloud (IAM and IMS)"):
            cloud = stack.enter_context(Simulator("--job-seconds", JOB_SECONDS))
        with _timed(console, "CRD, ServiceAccount and ClusterRole"):
            control_plane.apply_crds(ROOT / "deploy/crds")
            kubeconfig = install_rights(control_plane)
        operator = Operator(kubeconfig, scratch / "operator.log", ISA_LOG_LEVEL="info")
        with _timed(console, "the operator, with the permissions of its ServiceAccount"):
            operator.start()
        stack.callback(operator.terminate)
        yield Stage(control_plane, cloud, operator)


@contextlib.contextmanager
def _timed(console: Console, what: str) -> Generator[None]:
    started = time.monotonic()
    with console.status(f"starting {what}") if console.is_terminal else contextlib.nullcontext():
        yield
    console.print(f"  [green]✓[/] {what} [dim]({time.monotonic() - started:.1f} s)[/]")


def _play(console: Console, stage: Stage) -> None:
    objects = _objects(stage.cloud)
    names = [row["metadata"]["name"] for row in objects if row["kind"] == "ImageShareAcceptance"]
    console.print("\nApplied two Secrets, one of them with a wrong password, and five resources.")
    stage.control_plane.apply(objects)
    seen: dict[str, str] = {}
    _watch(console, stage, dict.fromkeys(names, _settled), seen)
    console.print(
        f"\nThe owner now shares image {NOT_SHARED}.\n"
        "The operator finds the share with its next check."
    )
    stage.cloud.seed(shares=[(NOT_SHARED, PROJECT, "pending")])
    _watch(console, stage, {"not-yet-shared": _ready}, seen)
    _publish(console, stage, seen)
    _show(console, stage, "get", "imageshareacceptances")
    _show(console, stage, "describe", "imageshareacceptance", "base-images")
    _show_requests(console, stage.cloud)


def _publish(console: Console, stage: Stage, seen: dict[str, str]) -> None:
    """Publish a new build as the owner of the golden images, and show how it becomes the latest."""
    console.print(
        f"\nThe owner of the golden images builds {NEW_BUILD} and shares it.\n"
        f"The resource {GOLDEN} selects it, without a change of its spec. The operator finds it\n"
        "after the interval of one minute; the annotation reconcile-at starts a check now."
    )
    stage.cloud.publish(NEW_BUILD, shared_with=[PROJECT])
    annotation = f"ims.otc.dev/reconcile-at={NEW_BUILD}"
    _show(console, stage, "annotate", f"isa/{GOLDEN}", annotation)
    _watch(console, stage, {GOLDEN: lambda status: _latest(status) == NEW_BUILD}, seen)
    _show(console, stage, "get", "isa", GOLDEN, "-o", f"custom-columns={LATEST_COLUMNS}")


def _objects(cloud: Simulator) -> list[Json]:
    """Return the samples for the simulated cloud, and two variants that are not Ready at first."""
    secret, accept, reject, golden = (
        yaml.safe_load((SAMPLES / name).read_text())
        for name in ("secret.example.yaml", "accept.yaml", "reject.yaml", "golden-images.yaml")
    )
    accept["spec"] |= {"projectID": PROJECT, "images": ACCEPTED}
    reject["spec"] |= {"projectID": PROJECT, "images": REJECTED}
    golden["spec"] |= {
        "projectID": PROJECT,
        "interval": "1m",
        "imageSelectorTerms": [{"owner": cloud.owner_project_id, "name": "ubuntu-24.04-*"}],
    }
    del golden["spec"]["imageSelectionPolicy"]["minAge"]  # or the demo lasts a day
    shared = [*ACCEPTED, *REJECTED]
    account = {"name": cloud.domain, "projects": [{"id": PROJECT, "name": "eu-de_demo"}]}
    cloud.seed(
        accounts=[account],
        images=[
            {"id": image, "owner": cloud.owner_project_id} for image in [*shared, NOT_SHARED, EXTRA]
        ],
        shares=[(image, PROJECT, "pending") for image in shared],
    )
    for name, days in BUILDS.items():
        built = datetime.now(UTC) - timedelta(days=days)
        cloud.publish(name, shared_with=[PROJECT], created_at=built)
    valid = {"username": cloud.user, "password": cloud.password, "domainName": cloud.domain}
    secret["stringData"] = valid
    wrong = {
        **secret,
        "metadata": {"name": "wrong-password"},
        "stringData": {**valid, "password": "not-the-password"},
    }
    not_shared = _variant(accept, "not-yet-shared", images=[NOT_SHARED])
    rejected_login = _variant(
        accept, "wrong-password", credentialsSecretRef={"name": "wrong-password"}
    )
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    placed = [secret, wrong, accept, reject, golden, not_shared, rejected_login]
    for row in placed:
        row["metadata"]["namespace"] = NAMESPACE
        if row["kind"] == "ImageShareAcceptance":
            row["spec"].pop("region", None)
            row["spec"]["endpoints"] = {"iam": cloud.url, "ims": cloud.url}
    return [namespace, *placed]


def _variant(sample: Json, name: str, **spec: object) -> Json:
    return {**sample, "metadata": {"name": name}, "spec": {**sample["spec"], **spec}}


def _settled(status: Json) -> bool:
    """Whether the operator has reconciled the resource and waits for no job."""
    reasons = {row["reason"] for row in status.get("conditions", ())}
    return bool(reasons) and "JobRunning" not in reasons


def _ready(status: Json) -> bool:
    return any(
        row["type"] == "Ready" and row["status"] == "True" for row in status.get("conditions", ())
    )


def _latest(status: Json) -> str:
    """Return the name of the newest image of a selector that was seen accepted and active."""
    rows: list[Json] = status.get("latest", [])
    return str(rows[0]["name"]) if rows else "-"


def _watch(
    console: Console, stage: Stage, goals: dict[str, Callable[[Json], bool]], seen: dict[str, str]
) -> None:
    """Show the resources until each meets its goal; ``seen`` is the last line of each resource."""
    view = _live(console, stage) if console.is_terminal else _plain(console, stage, seen)
    with contextlib.closing(view):
        rows = next(rows for rows in view if _reached(rows, goals))
    if console.is_terminal and "MESSAGE" in _dropped(rows, console.width):
        console.print(messages(rows, console.width))


def _reached(rows: list[Json], goals: dict[str, Callable[[Json], bool]]) -> bool:
    status = {row["metadata"]["name"]: row.get("status", {}) for row in rows}
    return all(goal(status.get(name, {})) for name, goal in goals.items())


def _rows(stage: Stage) -> Iterator[list[Json]]:
    """Yield the resources at each poll."""
    deadline = time.monotonic() + TIMEOUT_S
    path = f"/apis/ims.otc.dev/v1alpha1/namespaces/{NAMESPACE}/imageshareacceptances"
    while True:
        rows: list[Json] = stage.control_plane.http.get(path).raise_for_status().json()["items"]
        yield sorted(rows, key=lambda row: str(row["metadata"]["name"]))
        if time.monotonic() > deadline:
            raise SystemExit(
                f"error: not done after {TIMEOUT_S:g} s; log of the operator:\n{stage.operator.log}"
            )
        time.sleep(POLL_S)


def _live(console: Console, stage: Stage) -> Generator[list[Json]]:
    with Live(console=console, refresh_per_second=12) as live:
        for rows in _rows(stage):
            live.update(table(rows, console.width))
            yield rows


def _plain(console: Console, stage: Stage, seen: dict[str, str]) -> Generator[list[Json]]:
    """Print one line per change, the first time with the names of the columns."""
    if not seen:
        console.print(f"           {HEAD[0]:<16} {'  '.join(HEAD[1:])}")
    started = time.monotonic()
    for rows in _rows(stage):
        for row in rows:
            name, cells = row["metadata"]["name"], _cells(row)
            line = "  ".join(cells[1:])
            if seen.get(name) != line:
                seen[name] = line
                elapsed_s = time.monotonic() - started
                console.print(f"  {elapsed_s:5.1f} s  {name:<16} {line}".rstrip())
        yield rows


def table(rows: list[Json], columns: int) -> Table:
    """Return the table without the columns that do not fit; `messages` follow below it."""
    cells = [_cells(row) for row in rows]
    dropped = _dropped(rows, columns)
    kept = [index for index, title in enumerate(HEAD) if title not in dropped]
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index in kept:
        drawn.add_column(HEAD[index], no_wrap=True, overflow="ignore")
    for row in cells:
        style = COLOURS.get(row[HEAD.index("READY")], "")
        drawn.add_row(*(Text(row[index], style=style) for index in kept))
    return drawn


def _dropped(rows: list[Json], columns: int) -> tuple[str, ...]:
    return output.too_wide(HEAD, [_cells(row) for row in rows], DROP, columns)


def messages(rows: list[Json], columns: int) -> Text:
    """Return the message of each resource, wrapped between words."""
    lines = (f"{cells[0]}: {cells[-1]}" for cells in map(_cells, rows) if cells[-1])
    return Text("\n".join(["", *(output.wrapped(line, columns, hang=2) for line in lines)]))


def _cells(row: Json) -> list[str]:
    """Return the cells of a row, similar to `kubectl get -o wide`."""
    status = row.get("status", {})
    ready: Json = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    return [
        row["metadata"]["name"],
        row["spec"]["decision"],
        ready.get("status", "-"),
        ready.get("reason", "(not reconciled)"),
        status.get("summary", "-"),
        _latest(status),
        status.get("job", {}).get("status", "-"),
        ready.get("message", ""),
    ]


def _show(console: Console, stage: Stage, *args: str) -> None:
    console.print(f"\n[bold]$ kubectl {' '.join(args)} -n {NAMESPACE}[/]")
    # Bypass the console, which would mark up the columns of kubectl.
    columns = console.width if console.is_terminal else None
    for line in stage.control_plane.kubectl(*args, "-n", NAMESPACE).splitlines():
        hang = len(line) - len(line.lstrip()) + 4
        console.file.write(f"{output.wrapped(line, columns, hang=hang)}\n")
    console.file.flush()


def _show_requests(console: Console, cloud: Simulator) -> None:
    counters = cloud.counters()
    console.print("\n[bold]Requests to the simulated cloud[/]")
    for route, calls in sorted(counters["calls"].items()):
        console.print(f"  {calls:3} x {route}", markup=False)
    console.print(
        f"  tokens issued {counters['tokens_issued']}, logins rejected "
        f"{counters['logins_failed']}, images per batch {counters['images_per_put']}",
        markup=False,
    )


def _keep(console: Console, stage: Stage) -> None:
    stage.control_plane.kubectl("config", "set-context", "--current", f"--namespace={NAMESPACE}")
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    ENVIRONMENT.write_text(_environment(stage))
    try:
        console.print(
            "\nThe demo is still running. In another terminal, in this directory, run:\n\n"
            f"  source {ENVIRONMENT.relative_to(ROOT)}\n"
            "  kubectl get isa\n\n"
            "Continue with docs/get-started.md. Ctrl-C stops the demo and cleans up."
        )
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    finally:
        ENVIRONMENT.unlink(missing_ok=True)
    console.print("\nStopping.")


def _environment(stage: Stage) -> str:
    """Return shell code that sets the paths and defines the commands of the tutorial."""
    python = f'PYTHONPATH="{ROOT}/operator" "{sys.executable}"'
    return "\n".join(
        [
            f'export PATH="{binaries.directory()}:$PATH"',
            f'export KUBECACHEDIR="{stage.control_plane.directory}/kubectl-cache"',
            f'export KUBECONFIG="{stage.control_plane.admin_kubeconfig}"',
            f'export CLOUD="{stage.cloud.url}" CLOUD_CONTROL="{stage.cloud.control_url}"',
            f'export PROJECT="{PROJECT}" OWNER="{stage.cloud.owner_project_id}"',
            f'export OPERATOR_LOG="{stage.operator.log_file}"',
            f'image-share-operator() {{ {python} -m image_share_operator "$@"; }}',
            f'cloud() {{ {python} "{ROOT}/hack/cloud.py" "$@"; }}',
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
