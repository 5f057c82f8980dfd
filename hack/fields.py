"""The reference of the resource's fields, printed from the CRD."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRD = Path(__file__).parents[1] / "deploy/crds/imageshareacceptances.ims.otc.dev.yaml"
HEAD = """# Fields

All fields of ImageShareAcceptance, printed from the CRD by `hack/generate.py`; `make check` fails
when it is out of date. What they mean together, with examples: [the resource](spec.md). At hand:
`kubectl explain isa.spec --recursive`.

"""

Schema = Mapping[str, Any]


def render() -> str:
    """Return the page."""
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = [HEAD + schema["description"]]
    for name in ("spec", "status"):
        top = schema["properties"][name]
        parts.append("\n".join([f"## {name}", "", top["description"], *_refusals(top, "it")]))
        parts.extend(_fields(name, top))
    return "\n\n".join(parts) + "\n"


def _fields(path: str, schema: Schema) -> Iterator[str]:
    """A section for each field, depth first."""
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}"
        lines = [f"### {here}", "", _facts(field, required=name in schema.get("required", ()))]
        lines += ["", field.get("description") or field["items"]["description"]]
        lines += _refusals(field, "it")
        lines += _refusals(field.get("items", {}), "each of them")
        yield "\n".join(lines)
        yield from _fields(here, field)
        yield from _fields(f"{here}[]", field.get("items", {}))


def _facts(field: Schema, *, required: bool) -> str:
    """Type, whether it must be there, default, bounds: what needs no sentence."""
    told = [_type(field), *(["**required**"] if required else [])]
    if "default" in field:
        told.append(f"default `{_plain(field['default'])}`")
    if "enum" in field:
        told.append(f"one of {', '.join(f'`{value}`' for value in field['enum'])}")
    for key, unit in (("Items", "items"), ("Length", "characters")):
        least, most = field.get(f"min{key}"), field.get(f"max{key}")
        if least is not None and most is not None:
            told.append(f"{least} to {most} {unit}")
        elif most is not None:
            told.append(f"at most {most} {unit}")
    if field.get("x-kubernetes-list-type") == "set":
        told.append("no doubles")
    return "; ".join(told)


def _type(field: Schema) -> str:
    if field["type"] == "array":
        return f"list of {field['items']['type']}s"
    return "time (RFC 3339)" if field.get("format") == "date-time" else str(field["type"])


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusals(schema: Schema, subject: str) -> list[str]:
    """What the API server says when it refuses a value."""
    rules = schema.get("x-kubernetes-validations", ())
    if not rules:
        return []
    head = f"What the API server says when it refuses {subject}:"
    return ["", head, "", *(f"- {rule['message']}" for rule in rules)]
