"""Prints the findings of `check`: as text, JSON or YAML."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from image_share_operator.api.types import SelectionVerdict
from image_share_operator.cli import manifests, output
from image_share_operator.cli.check import Finding, Granted, ImageFinding, LoginState
from image_share_operator.cli.exit_codes import Exit
from image_share_operator.cli.manifests import Resource
from image_share_operator.timestamps import zulu

HEAD = ("IMAGE", "MEMBERSHIP", "ACTION", "MESSAGE")
SELECTOR_HEAD = ("NAME", "SELECTION", "ACTION", "MEMBERSHIP", "IMAGE", "MESSAGE")
"""The columns for a selector: here the names decide."""
SELECTOR_DROP = ("MESSAGE", "IMAGE", "MEMBERSHIP")
MAX_OTHERS = 20
"""Images in a table that match no term: an owner may share thousands."""
LABEL_WIDTH = 13
LOGGED_IN = {LoginState.OK: True, LoginState.FAILED: False}


def text(findings: Sequence[Finding], *, wide: bool) -> None:
    """Print one paragraph per resource."""
    for number, finding in enumerate(findings):
        if number:
            output.line()
        _print(finding, wide=wide)


def as_data(findings: Sequence[Finding]) -> dict[str, Any]:
    """Return the data for JSON and YAML output."""
    return {"resources": [_as_data(finding) for finding in findings]}


def _print(finding: Finding, *, wide: bool) -> None:
    output.line(_title(finding.resource))
    if finding.faults:
        _field("spec", "invalid:")
        for fault in finding.faults:
            output.line(f"    {fault}", hang=6)
        return
    _field("spec", "valid")
    _field("login", finding.login.value)
    rights = (f"{right} {_word(held)}" for right, held in finding.rights.items())
    _field("permissions", ", ".join(rights))
    if finding.error:
        _field("error", finding.error)
    if finding.seen is not None:
        _field("selection", _selection(finding.images, finding.seen))
    if finding.images:
        output.line()
        _print_images(finding, wide=wide)
        output.line()
    if finding.step:
        output.line(f"  {finding.step}", hang=2)


def _field(label: str, value: str) -> None:
    output.line(f"  {label:<{LABEL_WIDTH}}{value}", hang=2 + LABEL_WIDTH)


def _print_images(finding: Finding, *, wide: bool) -> None:
    """Print the table; messages that do not fit into it follow, one per image."""
    if finding.seen is None:
        shown, left_out = list(finding.images), 0
        dropped = output.table(HEAD, _rows(shown), drop=() if wide else HEAD[-1:])
    else:
        shown, left_out = _shortened(finding.images)
        drop = () if wide else SELECTOR_DROP
        dropped = output.table(SELECTOR_HEAD, _selector_rows(shown), drop=drop)
    told = [image for image in shown if image.message and dropped]
    if told or left_out:
        output.line()
    for image in told:
        output.line(f"  {_label(image)}: {image.message}", hang=4)
    if left_out:
        output.line(f"  Images that match no term and are not shown: {left_out}. Use -o json.")


def _selection(images: Sequence[ImageFinding], seen: int) -> str:
    """Count the images: ``2 Selected, 1 Superseded; 3 of 9 shares match``."""
    counts = Counter(image.selection for image in images if image.selection is not None)
    words = [f"{counts[verdict]} {verdict}" for verdict in SelectionVerdict if counts[verdict]]
    matching = f"{counts.total()} of {seen} shares match a term"
    return f"{', '.join(words)}; {matching}" if words else matching


def _shortened(images: Sequence[ImageFinding]) -> tuple[list[ImageFinding], int]:
    """Return the images for a table, and the number of those that are left out."""
    others = [image for image in images if image.selection is None]
    left_out = len(others[MAX_OTHERS:])
    return list(images[: len(images) - left_out]), left_out


def _label(image: ImageFinding) -> str:
    """Return what identifies the image for a person: names are not unique."""
    name = image.share.name if image.share else None
    return f"{name} ({image.id})" if name else image.id


def _title(resource: Resource) -> str:
    place = f"{resource.namespace}/{resource.name}" if resource.namespace else resource.name
    return f"{place} ({'stdin' if resource.file == manifests.STDIN else resource.file})"


def _word(held: Granted) -> str:
    return "not tested" if held is Granted.NOT_TRIED else held.value


def _rows(images: Sequence[ImageFinding]) -> Sequence[tuple[str, ...]]:
    return [
        (image.id, image.membership.value, image.action.value, image.message or "-")
        for image in images
    ]


def _selector_rows(images: Sequence[ImageFinding]) -> Sequence[tuple[str, ...]]:
    return [
        (
            (image.share.name if image.share else None) or "-",
            image.selection or "-",
            image.action.value,
            image.membership.value,
            image.id,
            image.message or "-",
        )
        for image in images
    ]


def _as_data(finding: Finding) -> dict[str, Any]:
    resource = finding.resource
    return {
        "file": resource.file,
        "namespace": resource.namespace,
        "name": resource.name,
        "ok": finding.code is Exit.FINE,
        "faults": list(finding.faults),
        "login": LOGGED_IN.get(finding.login),
        "rights": {right: held.value for right, held in finding.rights.items()},
        "images": [_image_as_data(image) for image in finding.images],
        "trouble": finding.error,
        "step": finding.step,
    }


def _image_as_data(image: ImageFinding) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": image.id,
        "membership": image.membership.value,
        "action": image.action.value,
        "message": image.message,
    }
    share = image.share
    if share is None:
        return found
    return found | {
        "name": share.name,
        "owner": share.owner,
        "createdAt": zulu(share.created_at, "seconds") if share.created_at else None,
        "selection": image.selection,
    }
