"""From manifests to resources and Secrets. Reads files; shows no value of a Secret."""

import base64
import binascii
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from image_share_operator.api.types import GROUP, KIND
from image_share_operator.cli.exit_codes import CommandError

Json = Mapping[str, Any]
STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An ImageShareAcceptance as written; its spec may be wrong."""

    file: str
    namespace: str | None
    name: str
    spec: object


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretManifest:
    """A Secret as written."""

    file: str
    namespace: str | None
    name: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What some files hold, in their order."""

    resources: tuple[Resource, ...]
    secrets: tuple[SecretManifest, ...]


def read(files: Sequence[str]) -> Manifests:
    """Read all documents of these files; kinds of others are passed over.

    Raises:
        CommandError: a file can't be read, or is no manifest.
    """
    resources: list[Resource] = []
    secrets: list[SecretManifest] = []
    for file in files:
        for document in _documents(file):
            if document.get("kind") == KIND and _group(document) == GROUP:
                namespace, name = _place(file, document)
                spec = document.get("spec")
                resources.append(Resource(file=file, namespace=namespace, name=name, spec=spec))
            elif document.get("kind") == "Secret" and _group(document) == "v1":
                secrets.append(_secret(file, document))
    return Manifests(resources=tuple(resources), secrets=tuple(secrets))


def read_directory(directory: str) -> Mapping[str, bytes]:
    """Read a Secret as a volume shows it: one file for each key.

    Raises:
        CommandError: it can't be read.
    """
    try:
        # Names with a dot in front are the volume's own.
        files = [file for file in Path(directory).iterdir() if not file.name.startswith(".")]
        return {file.name: file.read_bytes() for file in files if file.is_file()}
    except OSError as exc:
        raise CommandError(f"{directory}: {exc.strerror}") from None


def _documents(file: str) -> Iterator[Json]:
    try:
        text = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as exc:
        raise CommandError(f"{file}: {exc.strerror}") from None
    try:
        documents = list(cast("Iterator[object]", yaml.safe_load_all(text)))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        # The library quotes the line, which may hold a password.
        mark = getattr(exc, "problem_mark", None)
        where = f" (line {mark.line + 1})" if isinstance(mark, yaml.Mark) else ""
        raise CommandError(f"{file}: not YAML{where}") from None
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CommandError(f"{file}: not a Kubernetes manifest")
        found = cast("Json", document)
        items = found.get("items")
        if str(found.get("kind", "")).endswith("List") and isinstance(items, list):
            rows = cast("list[object]", items)
            yield from (cast("Json", row) for row in rows if isinstance(row, dict))
        else:
            yield found


def _group(document: Json) -> str:
    """``ims.otc.dev`` of ``ims.otc.dev/v1alpha1``; ``v1`` of ``v1``."""
    return str(document.get("apiVersion", "")).partition("/")[0]


def _place(file: str, document: Json) -> tuple[str | None, str]:
    metadata = _mapping(document.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName")
    if not isinstance(name, str):
        raise CommandError(f"{file}: metadata.name: Required value, of a {document.get('kind')}")
    namespace = metadata.get("namespace")
    return (namespace if isinstance(namespace, str) else None), name


def _mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _secret(file: str, document: Json) -> SecretManifest:
    namespace, name = _place(file, document)
    data: dict[str, bytes] = {}
    for key, value in _texts(file, name, document, "data"):
        try:
            data[key] = base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            raise CommandError(f"{file}: Secret {name}: data.{key} is not base64") from None
    # As the API server does: stringData goes over data.
    data |= {key: value.encode() for key, value in _texts(file, name, document, "stringData")}
    return SecretManifest(file=file, namespace=namespace, name=name, data=data)


def _texts(file: str, name: str, document: Json, part: str) -> Iterator[tuple[str, str]]:
    raw: object = document.get(part)
    if raw is None:
        return
    if not isinstance(raw, dict):
        raise CommandError(f"{file}: Secret {name}: {part} is not a mapping")
    for key, value in cast("dict[object, object]", raw).items():
        if not isinstance(value, str):
            raise CommandError(f"{file}: Secret {name}: {part}.{key} is not a text: quote it")
        yield str(key), value
