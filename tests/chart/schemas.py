"""JSON schemas for kubeconform from what the API server itself publishes; no net, no copies.

OpenAPI v3 is nearly JSON schema. What is missing is strictness: a field that a kind does not have
is an error here.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from chart.programs import Json

REFERENCES = "#/components/schemas/"
PATTERN = "{{ .Group }}-{{ .ResourceAPIVersion }}-{{ .ResourceKind }}.json"
OPEN = ("additionalProperties", "x-kubernetes-preserve-unknown-fields")


def write(http: httpx.Client, kinds: Iterable[tuple[str, str]], directory: Path) -> str:
    """Write a file for each apiVersion and kind; return where kubeconform finds them.

    Raises:
        KeyError: the API server does not know the kind.
    """
    for api_version, kind in kinds:
        document = _document(http, api_version)
        name = _name_of(document, api_version, kind)
        schema = {
            "$ref": REFERENCES + name,
            "components": {"schemas": _strict(document["components"]["schemas"])},
        }
        (directory / _file(api_version, kind)).write_text(json.dumps(schema))
    return f"{directory}/{PATTERN}"


def _file(api_version: str, kind: str) -> str:
    """What `PATTERN` becomes; the group of ``v1`` is ``v1`` to kubeconform."""
    group, _, version = api_version.rpartition("/")
    return f"{group or version}-{version}-{kind.lower()}.json"


def _document(http: httpx.Client, api_version: str) -> Json:
    group = f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"
    listed = http.get("/openapi/v3").raise_for_status().json()["paths"]
    found: Json = http.get(listed[group]["serverRelativeURL"]).raise_for_status().json()
    return found


def _name_of(document: Json, api_version: str, kind: str) -> str:
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in document["components"]["schemas"].items():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return str(name)
    raise KeyError(f"{api_version} {kind}")


def _strict(node: Any) -> Any:
    """The same, with objects closed that say which fields they have."""
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _strict(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict) and not any(word in node for word in OPEN):
        closed["additionalProperties"] = False
    return closed
