"""Generates the reference of the fields from the CRD."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRD = Path(__file__).parents[1] / "deploy/crds/imageshareacceptances.ims.otc.dev.yaml"
HEAD = """# Fields

This page lists all fields of ImageShareAcceptance. `hack/generate.py` generates it from the CRD;
`make check` fails when it is out of date. For an overview with examples, see
[ImageShareAcceptance](spec.md). In a terminal, run `kubectl explain isa.spec --recursive`.

"""

Schema = Mapping[str, Any]


def render() -> str:
    """Return the page."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [HEAD + schema["description"]]
    for name in ("spec", "status"):
        top = schema["properties"][name]
        parts.append("\n".join([f"## {name}", "", top["description"], *_refusals(top)]))
        parts.extend(_fields(name, top))
    return "\n\n".join(parts) + "\n"


def _fields(path: str, schema: Schema) -> Iterator[str]:
    """Yield a section for each field, depth first."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        lines = [f"### {here}", "", _facts(field, required=name in schema.get("required", ()))]
        lines += ["", field.get("description") or field["items"]["description"]]
        lines += _refusals(field)
        lines += _refusals(field.get("items", {}), " of each item")
        yield "\n".join(lines)
        yield from _fields(here, field)
        yield from _fields(f"{here}[]", field.get("items", {}))


def _facts(field: Schema, *, required: bool) -> str:
    """List type, default and limits."""
    facts = [_type(field), *(["**required**"] if required else [])]
    if "default" in field:
        facts.append(f"default `{_plain(field['default'])}`")
    if "enum" in field:
        facts.append(f"one of {', '.join(f'`{value}`' for value in field['enum'])}")
    for key, unit in (("Items", "items"), ("Length", "characters")):
        least, most = field.get(f"min{key}"), field.get(f"max{key}")
        if least is not None and most is not None:
            facts.append(f"{least} to {most} {unit}")
        elif most is not None:
            facts.append(f"up to {most} {unit}")
    if field.get("x-kubernetes-list-type") == "set":
        facts.append("each item once")
    return "; ".join(facts)


def _type(field: Schema) -> str:
    if field["type"] == "array":
        return f"list of {field['items']['type']}s"
    return "time (RFC 3339)" if field.get("format") == "date-time" else str(field["type"])


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusals(schema: Schema, subject: str = "") -> list[str]:
    """List the messages with which the API server rejects a value."""
    rules = schema.get("x-kubernetes-validations", ())
    if not rules:
        return []
    head = f"Validation messages{subject}:"
    return ["", head, "", *(f"- {rule['message']}" for rule in rules)]
