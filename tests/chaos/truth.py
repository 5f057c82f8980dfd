"""Does every object tell the truth, and does the cloud hold what the specs say? Pure.

The first two checks of the verdict, over the objects as the API server has them and the
memberships as the simulator has them:

1. An object whose spec is fulfilled says so; one whose images are not shared, whose credentials
   do not work, or which is suspended says that, with the reason of `docs/spec.md`; each row of
   ``status.images``, the summary and all generations fit.
2. Each image that can have the wanted membership has it. Deleted objects are gone, and those that
   had our finalizer have left their images rejected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chaos import golden
from chaos.golden import Gallery
from chaos.history import Record
from chaos.model import Content, Json, Spec, Target
from chaos.population import BAD_SECRETS

REASON_OF_CONTENT = {
    Content.ABSENT: frozenset({"SecretNotFound"}),
    Content.MISSING_KEY: frozenset({"CredentialsInvalid"}),
    Content.UNKNOWN_USER: frozenset({"CredentialsInvalid"}),
}
Members = Mapping[tuple[str, str], str]
"""Membership by image and project, lags aside; absent: not shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the conditions must say.

    Attributes:
        reasons: of Ready; one of them.
    """

    ready: str
    reasons: frozenset[str]
    others: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason by type, of the conditions besides Ready that must be there; ``*``: any."""


def complaints(
    records: Sequence[Record], bodies: Mapping[Target, Json], members: Members, gallery: Gallery
) -> list[str]:
    """Say for each object what is not as it must be; empty when all is."""
    found: list[str] = []
    for record in records:
        body = bodies.get(record.target)
        if record.deleted:
            found += _of_deleted(record, body, members)
        elif body is None:
            found.append(f"{record.target}: is gone although no user deleted it")
        else:
            found += _of_live(record, body, members, gallery)
    known = {record.target for record in records}
    found += [f"{target}: no user created it" for target in bodies if target not in known]
    return found


def _of_deleted(record: Record, body: Json | None, members: Members) -> list[str]:
    if body is not None:
        return [f"{record.target}: hangs in deletion: {_said(body)}"]
    if not record.held:
        return []
    spec = record.latest.spec  # a selector's images are not known any more: no row of the status
    return [
        f"{record.target}: deleted with Reject, but image {image} is {held}"
        for image in spec.images
        if (held := members.get((image, spec.project))) not in (None, "rejected")
    ]


def _of_live(record: Record, body: Json, members: Members, gallery: Gallery) -> list[str]:
    spec, status = record.latest.spec, body.get("status", {})
    verdicts: Mapping[str, str] = {}
    if spec.selector is not None:
        verdicts = golden.selected(spec.selector, spec.project, gallery)
        chosen = tuple(image for image in verdicts if verdicts[image] == "Selected")
        spec = replace(spec, images=chosen)
    generation = body["metadata"]["generation"]
    found: list[str] = []
    if generation != record.latest.generation:
        found.append(f"generation is {generation}, not {record.latest.generation}")
    found += _generations(status, generation)
    if spec.suspend:
        found += _of_suspended(status)
    else:
        found += _conditions(status, expected(spec, members))
        if spec.secret not in BAD_SECRETS:
            found += _rows(status, spec, members)
            found += _held(spec, members)
            found += _selections(status, spec, verdicts)
    return [f"{record.target}: {text}; status: {_said(body)}" for text in found]


def expected(spec: Spec, members: Members) -> Expected:
    """What a spec that was given time must have come to."""
    content = BAD_SECRETS.get(spec.secret)
    if content is not None:
        reasons = REASON_OF_CONTENT[content]
        return Expected(ready="False", reasons=reasons, others={"Stalled": "*"})
    if not spec.images:
        return Expected(
            ready="False",
            reasons=frozenset({"NothingSelected"}),
            others={"Reconciling": "NothingSelected"},
        )
    held = [members.get((image, spec.project)) for image in spec.images]
    if None in held:
        return Expected(
            ready="False",
            reasons=frozenset({"NotShared"}),
            others={"Reconciling": "WaitingForShare"},
        )
    answered = "Accepted" if spec.value == "accepted" else "Rejected"
    return Expected(ready="True", reasons=frozenset({answered}))


def _generations(status: Json, generation: int) -> list[str]:
    observed = {"status": status.get("observedGeneration")}
    observed |= {row["type"]: row.get("observedGeneration") for row in status.get("conditions", ())}
    return [
        f"observedGeneration of {name} is {seen}, not {generation}"
        for name, seen in observed.items()
        if seen != generation
    ]


def _conditions(status: Json, wanted: Expected) -> list[str]:
    rows = {row["type"]: row for row in status.get("conditions", ())}
    ready = rows.pop("Ready", {})
    found: list[str] = []
    if ready.get("status") != wanted.ready or ready.get("reason") not in wanted.reasons:
        one_of = " or ".join(sorted(wanted.reasons))
        found.append(
            f"Ready is {ready.get('status')} {ready.get('reason')}, not {wanted.ready} {one_of}"
        )
    said = {kind: row["reason"] for kind, row in rows.items()}
    if set(said) != set(wanted.others) or any(
        reason not in ("*", said[kind]) for kind, reason in wanted.others.items()
    ):
        found.append(f"besides Ready there are {said}, not {dict(wanted.others)}")
    return found


def _of_suspended(status: Json) -> list[str]:
    rows = {row["type"]: row for row in status.get("conditions", ())}
    ready = rows.pop("Ready", {})
    found = [f"is suspended and {kind}" for kind in rows]
    if not ready.get("message", "").startswith("Suspended"):
        found.append("does not say that it is suspended")
    return found


def _rows(status: Json, spec: Spec, members: Members) -> list[str]:
    said = {
        row["id"]: row["membership"]
        for row in status.get("images", ())
        if row.get("selection", "Selected") == "Selected"
    }
    is_so = {image: members.get((image, spec.project), "notShared") for image in spec.images}
    found = [
        f"says {said.get(image)} of image {image}, which is {is_so.get(image, 'not its own')}"
        for image in sorted(said.keys() | is_so.keys())
        if said.get(image) != is_so.get(image)
    ]
    done = sum(membership == spec.value for membership in is_so.values())
    summary = f"{done}/{len(spec.images)}"
    if status.get("summary") != summary:
        found.append(f"summary is {status.get('summary')}, not {summary}")
    return found


def _held(spec: Spec, members: Members) -> list[str]:
    return [
        f"wants image {image} {spec.value}, the cloud holds {held}"
        for image in spec.images
        if (held := members.get((image, spec.project))) not in (None, spec.value)
    ]


def _selections(status: Json, spec: Spec, verdicts: Mapping[str, str]) -> list[str]:
    """Verdicts that differ, and images that the object accepted and should have rejected."""
    if spec.selector is None:
        return []
    rows = {row["id"]: row for row in status.get("images", ())}
    said = {image: row.get("selection") for image, row in rows.items()}
    found = [
        f"says {said.get(image)} of image {image}, which is {verdicts.get(image)}"
        for image in sorted(said.keys() | verdicts.keys())
        if said.get(image) != verdicts.get(image)
    ]
    found += [
        f"accepted image {row['id']}, and does not reject it"
        for row in rows.values()
        if spec.removes
        and row.get("selection") in ("Superseded", "Excluded")
        and row["membership"] == "accepted"
        and "jobID" in row
    ]
    newest: dict[str, str] = {}
    for image in verdicts:  # the newest first
        if verdicts[image] == "Selected":
            newest.setdefault(str(rows.get(image, {}).get("name")).rpartition("-")[0], image)
    latest = {row["group"]: row["id"] for row in status.get("latest", ())}
    if latest != newest:
        found.append(f"latest is {latest}, not {newest}")
    return found


def _said(body: Json) -> str:
    """The status in one line: conditions, job and what is wrong with images."""
    status = body.get("status", {})
    rows = [
        f"{row['type']} {row['status']} {row['reason']} ({row['message']})"
        for row in status.get("conditions", ())
    ]
    job = status.get("job", {})
    told = f"job {job.get('status')} of generation {job.get('generation')}" if job else "no job"
    return f"[{'; '.join(rows)}; {told}; summary {status.get('summary')}]"
