"""Prints the findings of `check`: as text, JSON or YAML."""

from collections.abc import Sequence
from typing import Any

from image_share_operator.cli import manifests, output
from image_share_operator.cli.check import Finding, Granted, LoginState
from image_share_operator.cli.exit_codes import Exit
from image_share_operator.cli.manifests import Resource

HEAD = ("IMAGE", "MEMBERSHIP", "ACTION", "MESSAGE")
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
    dropped = output.table(HEAD, _rows(finding), drop=() if wide else HEAD[-1:])
    with_message = [image for image in finding.images if image.message and dropped]
    if with_message:
        output.line()
    for image in with_message:
        output.line(f"  {image.id}: {image.message}", hang=4)


def _title(resource: Resource) -> str:
    place = f"{resource.namespace}/{resource.name}" if resource.namespace else resource.name
    return f"{place} ({'stdin' if resource.file == manifests.STDIN else resource.file})"


def _word(held: Granted) -> str:
    return "not tested" if held is Granted.NOT_TRIED else held.value


def _rows(finding: Finding) -> Sequence[tuple[str, ...]]:
    return [
        (image.id, image.membership.value, image.action.value, image.message or "-")
        for image in finding.images
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
        "rights": {right.value: held.value for right, held in finding.rights.items()},
        "images": [
            {
                "id": image.id,
                "membership": image.membership.value,
                "action": image.action.value,
                "message": image.message,
            }
            for image in finding.images
        ],
        "trouble": finding.error,
        "step": finding.step,
    }
