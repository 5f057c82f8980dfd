"""What a selector must select: a small model of its own, and the images as their owners left them.

Nothing here knows the operator's code. Images of one line belong together: a selector selects the
images of one line, and their IDs begin with it. A line has groups; the name of an image is its
line, its group and a number.

Of each PUT that carries an image of a line, `complaints` requires that at some time shortly before
it (`REACTION_S`)

- a PUT of ``accepted``: a selector of the line selected the image, and no more than its limit, or
  the image was selected before there were too many;
- a PUT of ``rejected``: a selector with ``removalPolicy: Reject`` superseded or excluded it, while
  no more than its limit were selected, and under a name that the image had when it was accepted.

At the end `kept` requires that an object with ``removalPolicy: Reject`` rejected what it accepted
and no longer selects.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import pairwise

from chaos.history import History, Owners, Record, Version
from chaos.model import Selector
from chaos.tape import Put, Tape
from otc_simulator.defaults import OWNER_PROJECT_ID

REACTION_S = 75.0
"""From a change of an owner to the last PUT by what was before it: a list that was read just before
serves for a tenth of the interval, then a job, retries, and slow answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image at one time.

    Attributes:
        line: the one that its owner built it for, also when its name says something else.
        created_at: in whole seconds, as lists show it.
        created_s: the same by the machine's monotonic clock.
    """

    id: str
    line: str
    project: str
    owner: str
    name: str
    created_at: datetime
    created_s: float
    status: str = "active"
    shared: bool = True

    @property
    def group(self) -> str:
        """The name without its number."""
        return self.name.rpartition("-")[0]


def verdicts(
    selector: Selector, project: str, images: Iterable[Image], now_s: float
) -> dict[str, str]:
    """The verdict on each image that matches, the newest first; the limit aside."""
    found: dict[str, str] = {}
    taken: Counter[str] = Counter()
    by_id = sorted(images, key=lambda image: image.id)
    for image in sorted(by_id, key=lambda image: image.created_at, reverse=True):
        offered = image.shared and image.project == project and image.owner == OWNER_PROJECT_ID
        if not offered or not fnmatchcase(image.name, selector.pattern):
            continue
        if image.id in selector.exclude:
            found[image.id] = "Excluded"
        elif image.status != "active":
            found[image.id] = "Inactive"
        elif now_s - image.created_s < selector.min_age_s:
            found[image.id] = "TooYoung"
        else:
            taken[image.group] += 1
            fits = taken[image.group] <= selector.newest
            found[image.id] = "Selected" if fits else "Superseded"
    return found


def selected(found: Mapping[str, str]) -> tuple[str, ...]:
    """The images that are selected, the newest first."""
    return tuple(image for image, verdict in found.items() if verdict == "Selected")


@dataclass(slots=True)
class Gallery:
    """All images of all lines, now and at any time before. Times are monotonic."""

    _lines: dict[str, dict[str, list[tuple[float, Image]]]] = field(
        default_factory=dict[str, dict[str, list[tuple[float, Image]]]]
    )
    _line_of: dict[str, str] = field(default_factory=dict[str, str])

    def put(self, at_s: float, image: Image) -> None:
        """Record an image that an owner built."""
        self._line_of[image.id] = image.line
        self._lines.setdefault(image.line, {}).setdefault(image.id, []).append((at_s, image))

    def change(self, at_s: float, image: str, **changes: object) -> None:
        """Record what an owner did with an image."""
        self.put(at_s, replace(self.now(image), **changes))  # type: ignore[arg-type]  # names above

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return image in self._line_of

    def now(self, image: str) -> Image:
        """The image as it is."""
        return self._versions(image)[-1][1]

    def of_line(self, line: str, at_s: float) -> Iterator[Image]:
        """The images of a line, as they were at this time."""
        for versions in self._lines.get(line, {}).values():
            past = [image for since_s, image in versions if since_s <= at_s]
            yield from past[-1:]

    def turns(self, selector: Selector, start_s: float, end_s: float) -> list[float]:
        """When what is selected may have changed in this span, and its start."""
        times = {start_s}
        for versions in self._lines.get(selector.line, {}).values():
            times.update(at_s for at_s, _ in versions)
            times.add(versions[0][1].created_s + selector.min_age_s)
        return sorted(at_s for at_s in times if start_s <= at_s <= end_s)

    def changed_since(self, image: str, start_s: float) -> bool:
        """Whether an owner did something with the image then or later."""
        return self._versions(image)[-1][0] >= start_s

    def renamed_since(self, image: str, start_s: float) -> bool:
        """Whether an image of the line got another name then or later."""
        return any(
            at_s >= start_s and new.name != old.name
            for versions in self._lines[self._line_of[image]].values()
            for (_, old), (at_s, new) in pairwise(versions)
        )

    def names(self, image: str, start_s: float, end_s: float) -> set[str]:
        """The names that an image had in this span."""
        versions = self._versions(image)
        at_start = [one.name for at_s, one in versions if at_s <= start_s][-1:]
        return {*at_start, *(one.name for at_s, one in versions if start_s < at_s <= end_s)}

    def _versions(self, image: str) -> list[tuple[float, Image]]:
        return self._lines[self._line_of[image]][image]


def complaints(tape: Tape, history: History, gallery: Gallery) -> list[str]:
    """PUTs of images of another owner, and of images that no selector asked for."""
    found = [
        f"PUT of image {image}, which belongs to {gallery.now(image).owner}"
        for put in tape.puts
        for image in put.images
        if gallery.has(image) and gallery.now(image).owner != OWNER_PROJECT_ID
    ]
    judge = _Judge(tape, history, gallery, Owners(history.records.values()))
    for position, put in enumerate(tape.puts):
        found += [
            f"PUT of {put.value} for image {image}: {why}"
            for image in put.images
            if gallery.has(image) and (why := judge.unjustified(position, image))
        ]
    return found


def kept(
    tape: Tape,
    history: History,
    gallery: Gallery,
    members: Mapping[tuple[str, str], str],
    now_s: float,
) -> list[str]:
    """Superseded images that a job of the object accepted, and that were not rejected at the end.

    An object may forget that it accepted an image: the image was changed, any image of its line was
    renamed, or the cloud showed the membership late. The same holds if the job reports that it
    failed, and the membership could not be read right after that.

    Args:
        members: membership by image and project at the end, lags aside.
        now_s: the end.
    """
    accepted = _accepted(tape)
    return [
        f"{record.target}: accepted image {image} by job {put.job}, and did not reject it"
        for record in history.records.values()
        for image in _removable(record, gallery, now_s)
        if members.get((image, record.latest.spec.project)) == "accepted"
        and (put := accepted.get(image)) is not None
        and (image, put.job) in record.carried
        and not put.failed
        and not gallery.changed_since(image, put.at_s - REACTION_S)
        and not gallery.renamed_since(image, put.at_s - REACTION_S)
        and not history.lag_s(put.at_s - REACTION_S, put.at_s + REACTION_S)
    ]


def _accepted(tape: Tape) -> Mapping[str, Put]:
    """The PUT that set each image last, for images that it accepted."""
    last = {row.image: put for put in tape.puts for row in put.settings if row.applied}
    return {image: put for image, put in last.items() if put.value == "accepted"}


def _removable(record: Record, gallery: Gallery, now_s: float) -> Iterator[str]:
    """The images that the object must not have accepted at the end."""
    spec = record.latest.spec
    if record.deleted or not spec.submits or spec.selector is None or not spec.removes:
        return
    found = of_spec(spec.selector, spec.project, gallery, now_s)
    if len(selected(found)) <= spec.selector.limit:
        yield from (image for image in found if found[image] in ("Superseded", "Excluded"))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says why a PUT was wrong for an image of a line."""

    tape: Tape
    history: History
    gallery: Gallery
    owners: Owners

    def unjustified(self, position: int, image: str) -> str | None:
        """Why nothing justified it; ``None``: something did."""
        put = self.tape.puts[position]
        records = self.owners.of(image)
        start_s = self._known_since(put)
        if put.value == "accepted":
            if any(self._selected(one, image, start_s, put.at_s) for one in records):
                return None
            return f"it was not selected in the {put.at_s - start_s:.0f} s before"
        if any(version.leaving for one in records for version in one.versions):
            return None  # a deletion rejects all that was accepted
        names = self._accepted_as(position, image)
        if any(self._superseded(one, image, names, (start_s, put.at_s)) for one in records):
            return None
        named = f" with a name of {sorted(names)}" if names else ""
        return f"it was not superseded{named} in the {put.at_s - start_s:.0f} s before"

    def _known_since(self, put: Put) -> float:
        """Since when the operator may know what led to the PUT."""
        start_s = put.at_s - REACTION_S
        while self.history.up_s(start_s, put.at_s) < REACTION_S and start_s > 0:
            start_s -= 1.0
        return start_s

    def _selected(self, record: Record, image: str, start_s: float, end_s: float) -> bool:
        """Whether a selector of the resource selected the image, within its limit."""
        over_limit = False
        for version, selector in _selectors(record, start_s, end_s):
            for _, found in self._verdicts(version, selector, start_s, end_s):
                chosen = selected(found)
                if image in chosen:
                    if len(chosen) <= selector.limit:
                        return True
                    over_limit = True
        # Above the limit, those stay that were selected before.
        born_s = record.versions[0].sent_s
        return over_limit and any(
            image in (chosen := selected(found)) and len(chosen) <= selector.limit
            for version, selector in _selectors(record, born_s, end_s)
            for _, found in self._verdicts(version, selector, version.sent_s, end_s)
        )

    def _superseded(
        self, record: Record, image: str, names: set[str] | None, span: tuple[float, float]
    ) -> bool:
        """Whether a selector of the resource superseded or excluded the image, to reject it.

        Args:
            names: the image must have one of them at that time; ``None``: any name.
        """
        return any(
            found.get(image) in ("Superseded", "Excluded")
            and len(selected(found)) <= selector.limit
            and (names is None or bool(names & self.gallery.names(image, at_s, at_s)))
            for version, selector in _selectors(record, *span)
            if selector.removal == "Reject"
            for at_s, found in self._verdicts(version, selector, *span)
        )

    def _verdicts(
        self, version: Version, selector: Selector, start_s: float, end_s: float
    ) -> Iterator[tuple[float, Mapping[str, str]]]:
        """The verdicts by this version, at each time of the span when they may have changed."""
        for at_s in self.gallery.turns(selector, start_s, end_s):
            images = self.gallery.of_line(selector.line, at_s)
            yield at_s, verdicts(selector, version.spec.project, images, at_s)

    def _accepted_as(self, position: int, image: str) -> set[str] | None:
        """The names that the image had around its latest acceptance; ``None``: there was none."""
        for put in reversed(self.tape.puts[:position]):
            if put.value == "accepted" and image in put.images:
                return self.gallery.names(image, put.at_s - REACTION_S, put.at_s)
        return None


def _selectors(record: Record, start_s: float, end_s: float) -> Iterator[tuple[Version, Selector]]:
    """The versions with a selector that were in force at some time of this span."""
    for number, version in enumerate(record.versions):
        later = record.versions[number + 1 : number + 2]
        in_force = version.sent_s <= end_s and all(start_s <= one.done_s for one in later)
        if in_force and version.spec.selector is not None and not version.leaving:
            yield version, version.spec.selector


def of_spec(selector: Selector, project: str, gallery: Gallery, now_s: float) -> dict[str, str]:
    """The verdicts by what owners did until now."""
    images = gallery.of_line(selector.line, now_s)
    return verdicts(selector, project, images, now_s)
