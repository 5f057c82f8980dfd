"""Does every object tell the truth, and does the cloud hold what the specs say? Pure.

The first two checks of the verdict, over the objects as the API server has them and the
memberships as the simulator has them:

1. An object whose spec is fulfilled says so; one whose images are not shared, whose credentials
   do not work, or which is suspended says that, with the reason of `docs/spec.md`; each row of
   ``status.images``, the summary and all generations fit.
2. Each image that can have the wanted membership has it. Deleted objects are gone, and those that
   had our finalizer have left their images rejected.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    records: Sequence[Record],
    bodies: Mapping[Target, Json],
    members: Members,
    gallery: Gallery,
    now_s: float,
) -> list[str]:
    """Say for each object what is not as it must be; empty when all is.

    Args:
        now_s: when objects and memberships were read, by the machine's monotonic clock.
    """
    found: list[str] = []
    for record in records:
        body = bodies.get(record.target)
        if record.deleted:
            found += _of_deleted(record, body, members, gallery)
        elif body is None:
            found.append(f"{record.target}: is gone although no user deleted it")
        else:
            wanted = _wanted(record.latest.spec, body, gallery, now_s)
            found += _of_live(record, body, members, wanted)
    known = {record.target for record in records}
    found += [f"{target}: no user created it" for target in bodies if target not in known]
    return found


def _of_deleted(record: Record, body: Json | None, members: Members, gallery: Gallery) -> list[str]:
    if body is not None:
        if record.held and _waits_for_owner(record, gallery):
            return []
        return [f"{record.target}: hangs in deletion: {_said(body)}"]
    if not record.held:
        return []
    spec = record.latest.spec
    images: Iterable[str] = spec.images
    if spec.selector is not None:
        # What an owner changed at about that time was perhaps not in the list any more.
        since_s = record.deleted_s - golden.REACTION_S
        images = (
            image for image in record.rejects or () if not gallery.changed_since(image, since_s)
        )
    return [
        f"{record.target}: deleted with Reject, but image {image} is {held}"
        for image in images
        if (held := members.get((image, spec.project))) not in (None, "rejected")
    ]


def _waits_for_owner(record: Record, gallery: Gallery) -> bool:
    """Whether the cloud refuses to reject an image, because its owner deactivated it."""
    images = [image for image in record.rejects or () if gallery.has(image)]
    return any(gallery.now(image).status != "active" for image in images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the spec asks for now.

    Attributes:
        spec: with the selected images, for a selector.
        selections: the verdict on each image that matches a selector, the newest first.
        removed: superseded images that a job of the object accepted, and that must be rejected.
    """

    spec: Spec
    selections: Mapping[str, str]
    removed: tuple[str, ...] = ()

    @property
    def over_limit(self) -> bool:
        """Whether the selector would select more images than its limit."""
        return "OverLimit" in self.selections.values()


def _wanted(spec: Spec, body: Json, gallery: Gallery, now_s: float) -> Wanted:
    """What the spec asks for.

    Above the limit, any of the images may be selected, up to the limit: those that were before.
    """
    if spec.selector is None:
        return Wanted(spec=spec, selections={})
    verdicts = golden.of_spec(spec.selector, spec.project, gallery, now_s)
    chosen = golden.selected(verdicts)
    rows = body.get("status", {}).get("images", ())
    if len(chosen) > spec.selector.limit:
        said = {row["id"] for row in rows if row.get("selection") == "Selected"}
        chosen = tuple(image for image in chosen if image in said)[: spec.selector.limit]
    for image in golden.selected(verdicts):
        verdicts[image] = "Selected" if image in chosen else "OverLimit"
    removed = tuple(
        row["id"]
        for row in rows
        if row.get("selection") in ("Superseded", "Excluded")
        and (row["membership"], spec.removes) == ("accepted", True)
        and "jobID" in row
        and "OverLimit" not in verdicts.values()
    )
    return Wanted(spec=replace(spec, images=chosen), selections=verdicts, removed=removed)


def _of_live(record: Record, body: Json, members: Members, wanted: Wanted) -> list[str]:
    spec, status = wanted.spec, body.get("status", {})
    generation = body["metadata"]["generation"]
    found: list[str] = []
    if generation != record.latest.generation:
        found.append(f"generation is {generation}, not {record.latest.generation}")
    found += _generations(status, generation)
    if spec.suspend:
        found += _of_suspended(status)
    else:
        found += _conditions(status, expected(wanted, members))
        if spec.secret not in BAD_SECRETS:
            found += _rows(status, wanted, members)
            found += _selections(status, wanted, members)
            if not spec.dry_run:
                found += _held(wanted, members)
    return [f"{record.target}: {text}; status: {_said(body)}" for text in found]


def expected(wanted: Wanted, members: Members) -> Expected:
    """What a spec that was given time must have come to."""
    spec = wanted.spec
    content = BAD_SECRETS.get(spec.secret)
    if content is not None:
        reasons = REASON_OF_CONTENT[content]
        return Expected(ready="False", reasons=reasons, others={"Stalled": "*"})
    held = [members.get((image, spec.project)) for image in spec.images]
    if spec.dry_run and any(value not in (None, spec.value) for value in held):
        return _not_ready("DryRun")
    if None in held:
        return _not_ready("NotShared", Reconciling="WaitingForShare")
    if wanted.over_limit:
        return _not_ready("LimitExceeded", Stalled="LimitExceeded")
    if spec.dry_run and wanted.removed:
        return _not_ready("DryRun")
    if not held:
        return _not_ready("NothingSelected", Reconciling="NothingSelected")
    answered = "Accepted" if spec.value == "accepted" else "Rejected"
    return Expected(ready="True", reasons=frozenset({answered}))


def _not_ready(reason: str, **others: str) -> Expected:
    return Expected(ready="False", reasons=frozenset({reason}), others=others)


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


def _rows(status: Json, wanted: Wanted, members: Members) -> list[str]:
    spec = wanted.spec
    said = {row["id"]: row["membership"] for row in status.get("images", ())}
    images = spec.images if spec.selector is None else wanted.selections
    is_so = {image: members.get((image, spec.project), "notShared") for image in images}
    found = [
        f"says {said.get(image)} of image {image}, which is {is_so.get(image, 'not its own')}"
        for image in sorted(said.keys() | is_so.keys())
        if said.get(image) != is_so.get(image)
    ]
    done = sum(is_so[image] == spec.value for image in spec.images)
    summary = f"{done}/{len(spec.images)}"
    if status.get("summary") != summary:
        found.append(f"summary is {status.get('summary')}, not {summary}")
    return found


def _held(wanted: Wanted, members: Members) -> list[str]:
    spec = wanted.spec
    found = [
        f"wants image {image} {spec.value}, the cloud holds {held}"
        for image in spec.images
        if (held := members.get((image, spec.project))) not in (None, spec.value)
    ]
    return found + [f"accepted image {image}, and does not reject it" for image in wanted.removed]


def _selections(status: Json, wanted: Wanted, members: Members) -> list[str]:
    """What the status of a selector says about the selection and the latest images."""
    spec, verdicts = wanted.spec, wanted.selections
    if spec.selector is None:
        return []
    rows = {row["id"]: row for row in status.get("images", ())}
    found = [
        f"says {(rows.get(image) or {}).get('selection')} of image {image}, "
        f"which is {verdicts.get(image)}"
        for image in sorted(rows.keys() | verdicts.keys())
        if (rows.get(image) or {}).get("selection") != verdicts.get(image)
    ]
    if status.get("selected") != len(spec.images):
        found.append(f"selected is {status.get('selected')}, not {len(spec.images)}")
    return found + _latest(status, wanted, members)


def _latest(status: Json, wanted: Wanted, members: Members) -> list[str]:
    """Whether each group's latest image is the newest of those that are selected and accepted."""
    project = wanted.spec.project
    names = {row["id"]: str(row.get("name")) for row in status.get("images", ())}
    newest: dict[str, str] = {}
    for image in wanted.spec.images:
        if members.get((image, project)) == "accepted":
            newest.setdefault(names.get(image, "").rpartition("-")[0], image)
    latest = {row["group"]: row["id"] for row in status.get("latest", ())}
    # Without such an image in a group, the one before stays while it is superseded and accepted.
    latest = {
        group: image
        for group, image in latest.items()
        if group in newest
        or wanted.selections.get(image) != "Superseded"
        or members.get((image, project)) != "accepted"
    }
    return [] if latest == newest else [f"latest is {latest}, not {newest}"]


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
