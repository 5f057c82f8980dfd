"""Reads resources and Secrets from manifests. Error messages contain no value of a Secret."""

import base64
import binascii
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from image_share_operator.api import placeholders
from image_share_operator.api.types import GROUP, KIND
from image_share_operator.cli import yaml_codec
from image_share_operator.cli.exit_codes import CommandError

Json = Mapping[str, Any]
STDIN = "-"
SUFFIXES = (".json", ".yaml", ".yml")
"""The files of a directory that kubectl reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """An ImageShareAcceptance of a manifest. It is not validated."""

    file: str
    namespace: str | None
    name: str
    document: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretManifest:
    """A Secret of a manifest."""

    file: str
    namespace: str | None
    name: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """The resources and Secrets of the files, in their order."""

    resources: tuple[Resource, ...]
    secrets: tuple[SecretManifest, ...]


def expand(named: Sequence[str], *, recursive: bool) -> list[str]:
    """Return the files; a directory stands for the manifests in it, as in kubectl.

    Raises:
        CommandError: a directory has no manifest.
    """
    files: list[str] = []
    for name in named:
        if name == STDIN or not Path(name).is_dir():
            files.append(name)
            continue
        inside = Path(name).rglob("*") if recursive else Path(name).iterdir()
        found = sorted(str(file) for file in inside if file.suffix in SUFFIXES and file.is_file())
        if not found:
            more = "" if recursive else "; set -R to read its subdirectories"
            raise CommandError(f"{name}: the directory has no {', '.join(SUFFIXES)} file{more}")
        files += found
    return files


def read(files: Sequence[str]) -> Manifests:
    """Read all documents of these files; ignore other kinds.

    Raises:
        CommandError: a file cannot be read, or is not a manifest.
    """
    resources: list[Resource] = []
    secrets: list[SecretManifest] = []
    for file in files:
        for document in _documents(file):
            if document.get("kind") == KIND and _group(document) == GROUP:
                resources.append(_resource(file, document))
            elif document.get("kind") == "Secret" and _group(document) == "v1":
                secrets.append(_secret(file, document))
    return Manifests(resources=tuple(resources), secrets=tuple(secrets))


def read_directory(directory: str) -> Mapping[str, bytes]:
    """Read the keys of a Secret from a directory with one file per key, such as a Secret volume.

    Raises:
        CommandError: the directory or a file cannot be read.
    """
    try:
        # Names that start with a dot are internal files of the volume.
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
        documents = list(yaml_codec.documents(text))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as exc:
        # The message of the library quotes the line, which may contain a password.
        mark = getattr(exc, "problem_mark", None)
        where = f" (line {mark.line + 1})" if isinstance(mark, yaml.Mark) else ""
        raise CommandError(f"{file}: not valid YAML{where}") from None
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise CommandError(
                f"{file}: not a Kubernetes manifest; each document must be a mapping"
            )
        found = cast("Json", document)
        items = found.get("items")
        if str(found.get("kind", "")).endswith("List") and isinstance(items, list):
            rows = cast("list[object]", items)
            yield from (cast("Json", row) for row in rows if isinstance(row, dict))
        else:
            yield found


def _group(document: Json) -> str:
    """Return the group of ``ims.otc.dev/v1alpha1``: ``ims.otc.dev``; of ``v1``: ``v1``."""
    return str(document.get("apiVersion", "")).partition("/")[0]


def _resource(file: str, document: Json) -> Resource:
    metadata = _mapping(document.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName")
    namespace = metadata.get("namespace")
    return Resource(
        file=file,
        namespace=namespace if isinstance(namespace, str) else None,
        name=name if isinstance(name, str) else "(no name)",
        document=document,
    )


def _place(file: str, document: Json) -> tuple[str | None, str]:
    metadata = _mapping(document.get("metadata"))
    name = metadata.get("name") or metadata.get("generateName")
    if not isinstance(name, str):
        raise CommandError(f"{file}: {document.get('kind')}: metadata.name: Required value")
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
            fault = placeholders.fault_of(value) or "is not valid base64; use stringData"
            raise CommandError(f"{file}: Secret {name}: data.{key} {fault}") from None
    # As in the API server, stringData takes precedence over data.
    data |= {key: value.encode() for key, value in _texts(file, name, document, "stringData")}
    return SecretManifest(file=file, namespace=namespace, name=name, data=data)


def _texts(file: str, name: str, document: Json, part: str) -> Iterator[tuple[str, str]]:
    raw: object = document.get(part)
    if raw is None:
        return
    if not isinstance(raw, dict):
        raise CommandError(f"{file}: Secret {name}: {part} must be a mapping")
    for key, value in cast("dict[object, object]", raw).items():
        if not isinstance(value, str):
            raise CommandError(
                f"{file}: Secret {name}: {part}.{key} must be a string; quote the value"
            )
        yield str(key), value
