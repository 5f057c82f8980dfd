"""Generates pages and the dashboard from code; `--check` fails when one is out of date."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, assert_never

from prometheus_client.metrics import MetricWrapperBase

import dashboard
import fields
import selection_page
from image_share_operator.api.errors import CloudError, RetryableError, TerminalError
from image_share_operator.api.jobs import BatchPeers
from image_share_operator.api.reasons import Reason
from image_share_operator.api.types import (
    Decision,
    Desired,
    Endpoints,
    ImageStatus,
    InDoubtBatch,
    Job,
    JobState,
    Membership,
    SecretRef,
    Status,
)
from image_share_operator.planning import planner
from image_share_operator.planning.model import (
    ListShares,
    Observation,
    PollJob,
    Progress,
    ReadMemberships,
    ReadySummary,
    Report,
    RuntimeState,
    Step,
    Submit,
)
from image_share_operator.planning.requeue import Policy
from image_share_operator.settings import variables
from image_share_operator.telemetry import metrics

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CHART = ROOT / "deploy/helm/image-share-operator"
NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
TWO_MINUTES_S = 120
A, B = "image-a", "image-b"
JOB_ID = "J53871"
"""A job ID with medium jitter, so that the delays are easy to read."""
DESIRED = Desired(
    generation=2,
    images=(A, B),
    project_id="the project",
    decision=Decision.ACCEPT,
    vault_id=None,
    credentials=SecretRef(name="otc"),
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
HEAD = """# State table

This page lists the decisions of the planner (`planning/planner.py`). `hack/generate.py` generates
it; `make check` fails when it is out of date.

The example is a spec with the images A and B, `decision: Accept`, generation 2. Each section is for
one state of the job in the status. A row has:

- **memberships**: what the cloud returned for A and B in this reconcile;
- **other facts**: what else the operator knows;
- **next step**: `query the job` and `read the memberships` are requests, and then the planner runs
  again. `send` submits a batch. `report` writes the status and ends the reconcile;
- **conditions**: the conditions after the step. Absent conditions are not True;
- **requeue after**: the time until the next reconcile; "change" means not before a change.
"""
TABLE = """
| memberships | other facts | next step | conditions | requeue after |
| --- | --- | --- | --- | --- |
"""

SUFFIXES = {"counter": "_total", "info": "_info"}
"""The suffix that the text format adds to a name."""

METRICS_HEAD = """# Metrics

The operator serves `/metrics` on the port `ISA_METRICS_PORT`. `hack/generate.py` generates this
page from `telemetry/metrics.py`; `make check` fails when it is out of date.

Label values are closed sets. No label has the name or ID of an object, image, project or host. All
Prometheus clients have the `process_` metrics.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""

SETTINGS_BEGIN = "<!-- generated from settings.py by hack/generate.py -->\n\n"
SETTINGS_END = "\n<!-- end of the generated table -->"
SETTINGS_HEAD = """| variable | default | values | meaning |
| --- | --- | --- | --- |
"""


def main() -> int:
    """Write the files, or check that they are up to date."""
    pages = {
        DOCS / "state-machine.md": HEAD + "".join(_tables()),
        DOCS / "metrics.md": METRICS_HEAD + _rows(_metrics()),
        DOCS / "fields.md": fields.render(),
        DOCS / "selection.md": selection_page.render(),
        DOCS / "operations.md": _with_settings((DOCS / "operations.md").read_text()),
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


def _with_settings(page: str) -> str:
    """The page with the table of settings between its two markers."""
    before, _, rest = page.partition(SETTINGS_BEGIN)
    _, _, after = rest.partition(SETTINGS_END)
    return f"{before}{SETTINGS_BEGIN}{SETTINGS_HEAD}{_rows(_settings())}{SETTINGS_END}{after}"


def _settings() -> Iterator[tuple[str, ...]]:
    for variable in variables().values():
        default = variable.default_shown or f"`{variable.default}`"
        yield f"`{variable.name}`", default, variable.kind.allowed, variable.meaning


def _metrics() -> Iterator[tuple[str, ...]]:
    """Yield each metric with the name that a scrape returns."""
    views = metrics.Views(
        objects=dict,
        waiting=lambda: (0, 0.0),
        busy=lambda: 0,
        circuits=lambda: 0,
        tokens=lambda: 0.0,
        selections=dict,
        selects_nothing_s=lambda: 0.0,
    )
    kept = {id(one): one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    labels = {
        metric.name: one._labelnames  # noqa: SLF001 - there is no public attribute
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


def _tables() -> Iterator[str]:
    """Yield a section for each state of the job."""
    for words, job, runtime, extra in _jobs():
        yield f"\n## {words}\n{TABLE}{_rows(_table(job, runtime, extra))}"


def _table(
    job: Job | None, runtime: RuntimeState, extra: dict[str, Any]
) -> Iterator[tuple[str, ...]]:
    for member_words, members in _members():
        asked = job is not None and members is not None
        seen = Observation(
            status=Status(observed_generation=2, job=job, images=ROWS if job else ()),
            runtime=runtime,
            job_asked=asked,
        )
        if members is not None:
            seen = seen.with_results(members)
        for words, desired, observation in _circumstances(replace(seen, **extra)):
            step = planner.next_step(desired, observation, NOW, Policy())
            yield (member_words, words, *_step(step))


def _jobs() -> Iterator[tuple[str, Job | None, RuntimeState, dict[str, Any]]]:
    older = replace(JOB, generation=1)
    late = timedelta(minutes=11)
    alone = RuntimeState(batch_peers=BatchPeers(shared=False))
    yield "No job", None, alone, {}
    yield "Running", JOB, alone, {}
    yield "Running, timeout exceeded", replace(JOB, submitted_at=NOW - late), alone, {}
    older_words = "Running, timeout exceeded, older generation"
    yield older_words, replace(older, submitted_at=NOW - late), alone, {}
    success = replace(JOB, state=JobState.SUCCESS)
    yield "SUCCESS, just now", success, replace(alone, settled_at=NOW), {}
    past = replace(alone, settled_at=NOW - timedelta(minutes=2))
    yield "SUCCESS, two minutes ago", success, past, {}
    fail = replace(JOB, state=JobState.FAIL, error_code="IMG.0061")
    named = BatchPeers(shared=False, named=True)
    names_a = RuntimeState(failed_rows={A: "FAIL"}, batch_peers=named)
    yield "FAIL, names image A", fail, names_a, {}
    yield "FAIL, names no image", fail, alone, {}
    yield "FAIL, names no image, with batch peers", fail, RuntimeState(), {}
    others = RuntimeState(batch_peers=BatchPeers(named=True))
    yield "FAIL, names images of batch peers", fail, others, {}
    yield "FAIL, for the complete request", fail, alone, {"divisible": False}
    yield "FAIL, transient error", fail, alone, {"retryable": True}
    often = replace(alone, tries=6)
    yield "FAIL, transient error, after 6 retries", fail, often, {"retryable": True}
    yield "FAIL, older generation", replace(fail, generation=1), alone, {}
    yield "Unknown to the cloud", JOB, alone, {"job_unknown": True, "retryable": True}


def _members() -> Iterator[tuple[str, dict[str, Membership | CloudError] | None]]:
    pending, accepted = Membership.PENDING, Membership.ACCEPTED
    yield "not read yet", None
    yield "both accepted", {A: accepted, B: accepted}
    yield "both pending", {A: pending, B: pending}
    yield "A pending, B accepted", {A: pending, B: accepted}
    yield "A not shared, B accepted", {A: Membership.NOT_SHARED, B: accepted}
    denied = TerminalError("HTTP 403", reason=Reason.PERMISSION_DENIED)
    yield "A unreadable (403), B pending", {A: denied, B: pending}
    yield "A unreadable (503), B accepted", {A: RetryableError("HTTP 503"), B: accepted}


def _circumstances(observation: Observation) -> Iterator[tuple[str, Desired, Observation]]:
    status, members = observation.status, observation.members
    job = status.job
    yield "", DESIRED, observation
    if job is None and members is None:
        yield "suspended", replace(DESIRED, suspend=True), observation
    if job is None and members is not None and Membership.PENDING in members.values():
        done = tuple(replace(row, membership=Membership.ACCEPTED, job_id=None) for row in ROWS)
        was = replace(observation, status=replace(status, images=done))
        yield "both were accepted earlier (drift)", DESIRED, was
        failed = tuple(replace(row, job_id=None, message="failed") for row in ROWS)
        held = replace(observation, status=replace(status, images=failed))
        yield "both failed earlier", DESIRED, held
        yield "both failed earlier, a retry is due", DESIRED, _retry_due(held)
    if job is None and members is not None:
        sent = replace(observation, status=replace(status, images=ROWS))
        for words, batch in _in_doubt():
            in_doubt = replace(sent.status, unanswered=batch)
            yield words, DESIRED, replace(sent, status=in_doubt)


def _retry_due(observation: Observation) -> Observation:
    return replace(observation, runtime=replace(observation.runtime, retry_at=NOW))


def _in_doubt() -> Iterator[tuple[str, InDoubtBatch]]:
    second, minute = timedelta(seconds=1), timedelta(minutes=1)
    for decision in Decision:
        for words, until in (("a second ago", NOW - second + minute), ("a minute ago", NOW)):
            batch = InDoubtBatch(
                decision=decision, images=(A, B), since=until - minute, until=until
            )
            yield f"`{decision}` sent for both {words}, outcome unknown", batch


def _step(step: Step) -> tuple[str, str, str]:
    """Return the step, the conditions, and the time until the next reconcile."""
    match step:
        case PollJob():
            return "query the job", "", ""
        case ReadMemberships():
            return "read the memberships", "", ""
        case ListShares():
            return "list the shares", "", ""
        case Submit(images=images):
            sent = " and ".join(image.removeprefix("image-").upper() for image in images)
            return f"**send {sent}**", "Ready False `JobRunning`, Reconciling", "1 s"
        case Report(ready_summary=summary, requeue_after=after):
            ready = f"Ready {summary.ready} `{summary.reason}`{_progress(summary)}"
            return "report", ready, "change" if after is None else _span(after)


def _progress(summary: ReadySummary) -> str:
    match summary.progress:
        case Progress.SETTLED:
            return ""
        case Progress.RECONCILING:
            reason = summary.reconciling_reason
            return ", Reconciling" + (f" `{reason}`" if reason else "")
        case Progress.STALLED:
            return ", Stalled"
    assert_never(summary.progress)


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:g} s" if seconds < TWO_MINUTES_S else f"{seconds / 60:.3g} min"


if __name__ == "__main__":
    sys.exit(main())
