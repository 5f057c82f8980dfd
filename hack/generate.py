"""Prints what is made from code, pages and the dashboard; `--check` fails when one differs."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

import dashboard
import fields
from image_share_operator.api.jobs import BatchPeers
from image_share_operator.api.types import (
    Decision,
    Desired,
    Endpoints,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    Status,
)
from image_share_operator.planning import planner
from image_share_operator.planning.model import (
    Observation,
    PollJob,
    Progress,
    ReadMemberships,
    Report,
    Step,
    Submit,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.telemetry import metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHART = ROOT / "deploy/helm/image-share-operator"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
TWO_MINUTES_S = 120
A, B = "image-a", "image-b"
JOB_ID = "J53871"
"""A job whose jitter is in the middle, so that delays read well."""
DESIRED = Desired(
    generation=2,
    images=(A, B),
    project_id="the project",
    decision=Decision.ACCEPT,
    vault_id=None,
    secret_name="otc",  # noqa: S106 - a name
    endpoints=Endpoints(iam="https://iam", ims="https://ims"),
)
ROWS = tuple(ImageStatus(id=i, membership=Membership.PENDING, job_id=JOB_ID) for i in (A, B))
JOB = Job(
    id=JOB_ID,
    generation=2,
    decision=Decision.ACCEPT,
    state=JobState.RUNNING,
    submitted_at=NOW - timedelta(seconds=2),
)
HEAD = """# What the operator does next

Printed from `plan.next_step` by `hack/generate.py`; `make check` fails when it is out of date. All
rows are of a spec with two images, `Accept`, generation 2. "members" is what the cloud shows for
the two images in this pass; `?` means not looked at yet.

| job | members | what else is known | step | Ready | Reconciling | Stalled | again after |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


SUFFIXES = {"counter": "_total", "info": "_info"}
"""What the text format adds to a name."""

METRICS_HEAD = """# Metrics

Served at `/metrics` on `ISA_METRICS_PORT`. Printed from `metrics.py` by `hack/generate.py`;
`make check` fails when it is out of date. Label values are closed sets: no object, image, project,
host or id is ever one. The `process_` ones are those that all Prometheus clients have.

| metric | type | labels | what it tells |
| --- | --- | --- | --- |
"""


def main() -> int:
    """Write the files, or compare them."""
    pages = {
        DOCS / "state-machine.md": HEAD + _rows(_table()),
        DOCS / "metrics.md": METRICS_HEAD + _rows(_metrics()),
        DOCS / "fields.md": fields.render(),
        CHART / "files/dashboard.json": dashboard.render(),
    }
    stale = [page for page, text in pages.items() if not page.exists() or page.read_text() != text]
    for page in stale:
        if "--check" in sys.argv[1:]:
            print(f"{page.name} is out of date: run python hack/generate.py", file=sys.stderr)
        else:
            page.write_text(pages[page])
    return 1 if stale and "--check" in sys.argv[1:] else 0


def _rows(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _metrics() -> Iterator[tuple[str, ...]]:
    """Each metric as a scrape shows it; those that are looked up, too."""
    views = metrics.Views(
        objects=dict,
        waiting=lambda: (0, 0.0),
        busy=lambda: 0,
        circuits=lambda: 0,
        tokens=lambda: 0.0,
    )
    kept = {id(one): one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    labels = {
        metric.name: one._labelnames  # noqa: SLF001 - there is no other way to ask
        for one in kept.values()
        for metric in one.describe()
    }
    found = [*metrics.REGISTRY.collect(), *metrics.StateCollector(views).collect()]
    for metric in sorted(found, key=lambda metric: metric.name):
        name = metric.name + SUFFIXES.get(metric.type, "")
        live = getattr(metric, "_labelnames", ())
        yield (
            f"`{name}`",
            metric.type,
            ", ".join(labels.get(metric.name, live)),
            metric.documentation,
        )


def _table() -> Iterator[tuple[str, ...]]:
    for job_words, job, extra in _jobs():
        for member_words, members in _members():
            asked = job is not None and members is not None
            for words, desired, observation in _circumstances(job, members, asked=asked):
                step = planner.next_step(desired, replace(observation, **extra), NOW, Policy())
                yield (job_words, member_words, words, *_told(step))


def _jobs() -> Iterator[tuple[str, Job | None, dict[str, Any]]]:
    older = replace(JOB, generation=1)
    late = timedelta(minutes=11)
    yield "none", None, {}
    yield "running", JOB, {}
    yield "running, past its timeout", replace(JOB, submitted_at=NOW - late), {}
    yield "running, past its timeout, of an older spec", replace(older, submitted_at=NOW - late), {}
    yield "SUCCESS a moment ago", replace(JOB, state=JobState.SUCCESS), {"settled_at": NOW}
    past = {"settled_at": NOW - timedelta(minutes=2)}
    yield "SUCCESS two minutes ago", replace(JOB, state=JobState.SUCCESS), past
    fail = replace(JOB, state=JobState.FAIL, error_code="IMG.0061")
    named = BatchPeers(shared=False, named=True)
    yield "FAIL, naming A", fail, {"failed_rows": {A: "FAIL"}, "batch_peers": named}
    yield "FAIL, naming none", fail, {}
    yield "FAIL, naming none, with images of others", fail, {"batch_peers": BatchPeers()}
    yield "FAIL, naming others'", fail, {"batch_peers": BatchPeers(named=True)}
    yield "FAIL, the whole request", fail, {"divisible": False}
    yield "FAIL, may pass by itself", fail, {"retryable": True}
    yield "FAIL, may pass by itself, tried 6 times", fail, {"retryable": True, "failures": 6}
    yield "FAIL, of an older spec", replace(fail, generation=1), {}
    yield "not known to the cloud", JOB, {"job_unknown": True, "retryable": True}


def _members() -> Iterator[tuple[str, dict[str, Membership] | None]]:
    pending, accepted = Membership.PENDING, Membership.ACCEPTED
    yield "?", None
    yield "both accepted", {A: accepted, B: accepted}
    yield "both pending", {A: pending, B: pending}
    yield "A pending, B accepted", {A: pending, B: accepted}
    yield "A not shared, B accepted", {A: Membership.NOT_SHARED, B: accepted}


def _circumstances(
    job: Job | None, members: dict[str, Membership] | None, *, asked: bool
) -> Iterator[tuple[str, Desired, Observation]]:
    status = Status(observed_generation=2, job=job, images=ROWS if job else ())
    observation = Observation(status=status, job_asked=asked, members=members)
    yield "", DESIRED, observation
    if job is None and members is None:
        yield "suspended", replace(DESIRED, suspend=True), observation
    if job is None and members is not None and Membership.PENDING in members.values():
        done = tuple(replace(row, membership=Membership.ACCEPTED, job_id=None) for row in ROWS)
        was = replace(observation, status=replace(status, images=done))
        yield "both were accepted before", DESIRED, was
        failed = tuple(replace(row, job_id=None, message="failed") for row in ROWS)
        held = replace(observation, status=replace(status, images=failed))
        yield "both failed before", DESIRED, held
        yield "both failed before; a retry is due", DESIRED, replace(held, retry_at=NOW)
    if job is None and members is not None:
        sent = replace(observation, status=replace(status, images=ROWS))
        for words, batch in _unanswered():
            told = replace(sent, status=replace(sent.status, unanswered=batch))
            yield words, DESIRED, told


def _unanswered() -> Iterator[tuple[str, InDoubtBatch]]:
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    for decision in Decision:
        for words, until in (("a second ago", NOW - second + minute), ("a minute ago", NOW)):
            batch = InDoubtBatch(
                decision=decision, images=(A, B), since=until - minute, until=until
            )
            yield f"{decision} was sent for both, its answer lost {words}", batch


def _told(step: Step) -> tuple[str, ...]:
    match step:
        case PollJob():
            return "ask for the job", "", "", "", ""
        case ReadMemberships():
            return "look at the members", "", "", "", ""
        case Submit(images=images):
            sent = " and ".join(image.removeprefix("image-").upper() for image in images)
            return f"**send {sent}**", "False `JobRunning`", "True `JobRunning`", "", "1 s"
        case Report(ready_summary=ready_summary, requeue_after=requeue_after):
            reconciling_reason = ready_summary.progress is Progress.RECONCILING
            stalled = ready_summary.progress is Progress.STALLED
            return (
                "say so",
                f"{ready_summary.ready} `{ready_summary.reason}`",
                f"True `{ready_summary.reconciling_reason or ready_summary.reason}`"
                if reconciling_reason
                else "",
                f"True `{ready_summary.reason}`" if stalled else "",
                "a change" if requeue_after is None else _span(requeue_after),
            )


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:g} s" if seconds < TWO_MINUTES_S else f"{seconds / 60:.3g} min"


if __name__ == "__main__":
    sys.exit(main())
