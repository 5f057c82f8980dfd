"""Statuses of real runs, made the same in each run: the testdata of the health script."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from argocd import merge_patch
from argocd.scripts import ACTIONS, TESTDATA
from e2e.conftest import IAM, IMAGES, IMS, PROJECT
from e2e.live.world import World

Json = dict[str, Any]

NAMESPACE = "default"
TIME = "2026-05-04T03:02:01"
TIME_OF_DAY = re.compile(r"\d\d:\d\d UTC")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
MILLISECONDS = re.compile(r"(?<=:\d\d)\.\d{3}Z")
BOOKKEEPING = ("creationTimestamp", "managedFields", "resourceVersion", "uid")
OUTCOMES: dict[str, dict[str, Json]] = {
    "accepted": {
        "reconcile": {
            "metadata": {"annotations": {"ims.otc.dev/reconcile-at": "0001-01-01T00:00:00Z"}}
        },
        "suspend": {"spec": {"suspend": True}},
    },
    "rejecting": {},
    "suspended": {"resume": {"spec": {"suspend": False}}},
}
"""What actions change, by sample. The time is the one that Argo CD's own tests put there."""
HEAD = "# Recorded in a test run; names, IDs, times and addresses are replaced.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The files; ``rewrite`` writes what a run gives, instead of comparing it."""

    rewrite: bool

    def keep(self, name: str, state: Json, world: World) -> None:
        """Compare ``state`` with the file ``name``, or write it.

        Raises:
            AssertionError: a run gives something else now than when the file was written.
        """
        for path, sample in _files(name, anonymous(state, world)).items():
            if self.rewrite:
                path.write_text(HEAD + yaml.safe_dump(sample, width=100))
            stored = yaml.safe_load(path.read_text())
            assert sample == stored, f"{path.name}: run pytest tests/argocd --rewrite-testdata"


def anonymous(state: Json, world: World) -> Json:
    """The state with names, ids, times and addresses that are the same in each run."""
    metadata = {key: value for key, value in state["metadata"].items() if key not in BOOKKEEPING}
    text = json.dumps({**state, "metadata": metadata})
    for real, fixed in _renamed(state, world).items():
        text = text.replace(real, fixed)
    text = TIME_OF_DAY.sub("12:20 UTC", text)
    text = MILLISECONDS.sub(".000Z", TIMESTAMP.sub(TIME, text))
    assert world.password not in text
    sample: Json = json.loads(text)
    sample["spec"]["endpoints"] = {"iam": IAM, "ims": IMS}
    if "secretVersion" in sample["status"]:
        sample["status"]["secretVersion"] = "1"
    return sample


def _renamed(state: Json, world: World) -> dict[str, str]:
    status = state["status"]
    jobs = [row["jobID"] for row in status.get("images", ()) if "jobID" in row]
    jobs += [status["job"]["id"]] if "job" in status else []
    chosen = state["spec"].get("images") or [row["id"] for row in status.get("images", ())]
    images = zip(chosen, IMAGES, strict=False)
    named = {job: f"{number:032x}" for number, job in enumerate(dict.fromkeys(jobs), start=1)}
    origin = world.sim.url.removeprefix("http://")
    addresses = {world.sim.url: IMS, origin: f"{IMS.removeprefix('https://')}:443"}
    return {**dict(images), **named, world.project: PROJECT, **addresses} | {
        world.namespace: NAMESPACE
    }


def _files(name: str, sample: Json) -> dict[Path, Json]:
    """What to keep where. Upstream's layout gives the actions testdata of their own."""
    files = {TESTDATA / f"{name}.yaml": sample}
    if name in OUTCOMES:
        files[ACTIONS / "testdata" / f"{name}.yaml"] = sample
    for action, patch in OUTCOMES.get(name, {}).items():
        path = ACTIONS / "testdata" / f"{name}-{action}.yaml"
        files[path] = merge_patch.applied(sample, patch)
    return files
