"""What a selector must select: a small model of its own, and the images as their owners left them.

Nothing here knows the operator's code. Images of one line belong together: a selector selects the
images of one line, and their IDs begin with it. A line has groups; the name of an image is its
line, its group and a number.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

from chaos.history import History, Record
from chaos.model import Selector
from chaos.tape import Put, Tape
from otc_simulator.defaults import OWNER_PROJECT_ID

REACTION_S = 75.0
"""From a change of an owner to the last PUT by what was before it: a list that was read just before
serves for a tenth of the interval, then a job, retries, and slow answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image at one time."""

    id: str
    project: str
    owner: str
    name: str
    created_at: datetime
    status: str = "active"
    shared: bool = True


def verdicts(selector: Selector, project: str, images: Iterable[Image]) -> dict[str, str]:
    """The verdict on each image that matches."""
    found: dict[str, str] = {}
    taken: dict[str, int] = {}
    newest_first = sorted(sorted(images, key=lambda one: one.id), key=_age, reverse=True)
    for image in newest_first:
        is_ours = image.shared and image.project == project and image.owner == OWNER_PROJECT_ID
        if not is_ours or not fnmatchcase(image.name, selector.pattern):
            continue
        group = image.name.rpartition("-")[0]
        if image.id in selector.exclude:
            found[image.id] = "Excluded"
        elif image.status != "active":
            found[image.id] = "Inactive"
        else:
            taken[group] = taken.get(group, 0) + 1
            fits = taken[group] <= selector.newest
            found[image.id] = "Selected" if fits else "Superseded"
    return found


def _age(image: Image) -> datetime:
    return image.created_at.replace(microsecond=0)


@dataclass(slots=True)
class Gallery:
    """All images of all lines, now and at any time before. Times are monotonic."""

    _versions: dict[str, list[tuple[float, Image]]] = field(
        default_factory=dict[str, list[tuple[float, Image]]]
    )

    def put(self, at_s: float, image: Image) -> None:
        """Record what an owner did."""
        self._versions.setdefault(image.id, []).append((at_s, image))

    def now(self, image: str) -> Image:
        """The image as it is."""
        return self._versions[image][-1][1]

    def has(self, image: str) -> bool:
        """Whether there is such an image."""
        return image in self._versions

    def change(self, at_s: float, image: str, **changes: object) -> None:
        """Record a change."""
        self.put(at_s, replace(self.now(image), **changes))  # type: ignore[arg-type]  # names above

    def of_line(self, line: str, at_s: float = float("inf")) -> Iterator[Image]:
        """The images of a line, as they were at this time."""
        for versions in self._versions.values():
            past = [image for since_s, image in versions if since_s <= at_s]
            if past and line in (past[-1].id[: len(line)], past[-1].name[: len(line)]):
                yield past[-1]

    def changes_of(self, line: str, start_s: float, end_s: float) -> set[float]:
        """When an image of the line changed in this span."""
        return {
            at_s
            for image, versions in self._versions.items()
            if image.startswith(line)
            for at_s, _ in versions
            if start_s <= at_s <= end_s
        }

    def names(self, image: str, start_s: float, end_s: float) -> set[str]:
        """The names that an image had in this span."""
        versions = self._versions[image]
        at_start = [one.name for at_s, one in versions if at_s <= start_s][-1:]
        return {*at_start, *(one.name for at_s, one in versions if start_s < at_s <= end_s)}


def complaints(tape: Tape, history: History, gallery: Gallery) -> list[str]:
    """PUTs of images of another owner, and rejections that nothing justified."""
    found = [
        f"PUT of image {image}, which belongs to {gallery.now(image).owner}"
        for put in tape.puts
        for image in put.images
        if gallery.has(image) and gallery.now(image).owner != OWNER_PROJECT_ID
    ]
    judge = _Judge(tape, history, gallery)
    for position, put in enumerate(tape.puts):
        if put.value == "rejected":
            found += [
                f"PUT of rejected for image {image}: {why}"
                for image in put.images
                if gallery.has(image) and (why := judge.unjustified(position, image))
            ]
    return found


@dataclass(frozen=True, slots=True)
class _Judge:
    """Says why a rejection was wrong."""

    tape: Tape
    history: History
    gallery: Gallery

    def unjustified(self, position: int, image: str) -> str | None:
        """Why nothing justified it; ``None``: something did."""
        put = self.tape.puts[position]
        records = [one for one in self.history.records.values() if one.names(image)]
        if any(version.leaving for one in records for version in one.versions):
            return None  # a deletion rejects all that was accepted
        start_s = self._known_since(put)
        if not any(self._superseded(one, image, start_s, put.at_s) for one in records):
            return f"it was not superseded in the {put.at_s - start_s:.0f} s before"
        accepted = self._accepted_as(position, image)
        names = self.gallery.names(image, start_s, put.at_s)
        if accepted is not None and not accepted & names:
            return f"it was renamed from {sorted(accepted)} to {sorted(names)}"
        return None

    def _known_since(self, put: Put) -> float:
        """Since when the operator may know what led to the PUT."""
        start_s = put.at_s - REACTION_S
        while self.history.up_s(start_s, put.at_s) < REACTION_S and start_s > 0:
            start_s -= 1.0
        return start_s

    def _superseded(self, record: Record, image: str, start_s: float, end_s: float) -> bool:
        """Whether a selector of the resource superseded or excluded the image at some time."""
        for version in record.versions:
            selector = version.spec.selector
            if selector is None or version.sent_s > end_s or selector.removal != "Reject":
                continue
            for at_s in (start_s, *self.gallery.changes_of(selector.line, start_s, end_s)):
                images = self.gallery.of_line(selector.line, at_s)
                verdict = verdicts(selector, version.spec.project, images).get(image)
                if verdict in ("Superseded", "Excluded"):
                    return True
        return False

    def _accepted_as(self, position: int, image: str) -> set[str] | None:
        """The names that the image had around its latest acceptance; ``None``: there was none."""
        for put in reversed(self.tape.puts[:position]):
            if put.value == "accepted" and image in put.images:
                return self.gallery.names(image, put.at_s - REACTION_S, put.at_s)
        return None


def selected(selector: Selector, project: str, gallery: Gallery) -> Mapping[str, str]:
    """The verdicts by what owners did."""
    return verdicts(selector, project, gallery.of_line(selector.line))
