"""Reads YAML with a limit for everything that costs time or memory. No I/O.

The tree is built from the events of the parser, not by a YAML loader: no tag creates an object, no
alias copies a value, and no scalar is converted. A scalar that YAML reads as a number, a boolean or
a date is kept as `Typed`, because its text and its value may differ: ``0123`` is 83.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, cast

import yaml

MAX_DEPTH: Final = 16
"""Limit of nested mappings and lists. A clouds.yaml with regions has 7 levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlLimits:
    """What a file may contain.

    Attributes:
        nodes: mappings, lists and scalars.
        aliases: whether aliases and merge keys are followed.
    """

    size_bytes: int
    nodes: int
    aliases: bool


TENANT: Final = YamlLimits(size_bytes=64 * 1024, nodes=10_000, aliases=False)
"""For a file in a Secret: about 100 clouds with 600 bytes and 20 nodes each."""
OWN: Final = YamlLimits(size_bytes=1024 * 1024, nodes=100_000, aliases=True)
"""For a file of the user who runs the command."""


_RESOLVER: Any = yaml.resolver.Resolver()
_CORE = "tag:yaml.org,2002:"
_KINDS = {
    "int": "a number",
    "float": "a number",
    "bool": "a boolean",
    "timestamp": "a date",
    "merge": "a merge key",
    "value": "a default value",
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A scalar that is not a string.

    Attributes:
        kind: for messages, such as ``a number``.
        text: as it is in the file.
    """

    kind: str
    text: str = field(repr=False)


Node = None | str | Typed | list["Node"] | dict[str, "Node"]
"""A node of the document. The keys of mappings are the texts of their scalars."""


def decode(data: bytes, name: str) -> str:
    """Decode UTF-8 text; remove a byte order mark.

    Args:
        name: of the text, for messages.

    Raises:
        ValueError: the bytes are not UTF-8.
    """
    refuse_utf16(data, name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not UTF-8 text") from None


def refuse_utf16(data: bytes, name: str) -> None:
    """Refuse UTF-16, which PowerShell writes.

    Raises:
        ValueError: the bytes start with its byte order mark.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{name} is UTF-16 text; save it as UTF-8")


def read(data: bytes, name: str, limits: YamlLimits = TENANT) -> Node:
    """Read one YAML document; ``None`` when there is none.

    Args:
        name: of the file, for messages.

    Raises:
        ValueError: not YAML, or above a limit. The message has the line and no text of the file.
    """
    if len(data) > limits.size_bytes:
        limit = f"{limits.size_bytes >> 10} KiB"
        raise ValueError(f"{name} is larger than {limit}; keep only the cloud in use")
    text = decode(data, name)
    builder = _Builder(name, limits)
    try:
        for event in _events(text):
            builder.add(event)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise ValueError(f"{name} is not YAML{where}") from None
    return builder.root


def _events(text: str) -> Iterator[Any]:
    return cast("Iterator[Any]", yaml.parse(text, Loader=yaml.CSafeLoader))


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end was not read yet.

    Attributes:
        key: waits for its value.
        merged: values of the merge key; fields of the mapping win, then those of earlier values.
    """

    node: "list[Node] | dict[str, Node]"
    anchor: str | None = None
    key: str | None = None
    is_merge: bool = False
    merged: "list[Node]" = field(default_factory=list)


class _Builder:
    """Builds the tree from events."""

    def __init__(self, name: str, limits: YamlLimits) -> None:
        self.root: Node = None
        self._name = name
        self._limits = limits
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._nodes = 0
        self._documents = 0

    def add(self, event: Any) -> None:
        """Take the next event.

        Raises:
            ValueError: it is not supported, or above a limit.
        """
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._error(event, "several documents are not supported; keep one")
            case yaml.AliasEvent():
                self._attach(event, self._aliased(event))
            case yaml.ScalarEvent():
                self._count(event)
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._count(event)
                self._start(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._end(event)
            case _:
                pass  # starts and ends of the stream and of the document

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            most = self._limits.nodes
            raise self._error(event, f"more than {most} values; keep only the cloud in use")

    def _start(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_CORE}{'map' if is_mapping else 'seq'}"):
            raise self._error(event, "tags are not supported; remove the tag")
        node: list[Node] | dict[str, Node] = {} if is_mapping else []
        self._attach(event, node)
        self._open.append(_Open(node, anchor=event.anchor))

    def _end(self, event: Any) -> None:
        top = self._open.pop()
        if isinstance(top.node, dict):
            for value in top.merged:
                for one in value if isinstance(value, list) else (value,):
                    if not isinstance(one, dict):
                        raise self._error(event, "the value of a merge key is not a mapping")
                    top.node.update((key, one[key]) for key in one.keys() - top.node.keys())
        if top.anchor is not None:
            self._anchors[top.anchor] = top.node

    def _aliased(self, event: Any) -> Node:
        """The node of an alias: shared, not copied."""
        if not self._limits.aliases:
            raise self._error(event, "aliases are not supported; write the values out")
        if event.anchor not in self._anchors:
            raise self._error(event, "an alias has no anchor before it")
        return self._anchors[event.anchor]

    def _scalar(self, event: Any) -> None:
        tag: str | None = event.tag
        if tag is None or tag == "!":
            tag = str(_RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit))
        kind = tag.removeprefix(_CORE)
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.node, dict) and top.key is None:
            top.is_merge = kind == "merge"
            if top.is_merge and not self._limits.aliases:
                raise self._error(event, "merge keys are not supported; write the values out")
            if event.value in top.node:
                raise self._error(event, "the same key is there twice; keep one")
            top.key = event.value
            return
        node: Node
        if kind == "str":
            node = event.value
        elif kind == "null":
            node = None
        elif kind in _KINDS and tag.startswith(_CORE):
            node = Typed(_KINDS[kind], event.value)
        else:
            raise self._error(event, "tags are not supported; remove the tag")
        self._attach(event, node)
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _attach(self, event: Any, node: Node) -> None:
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if isinstance(top.node, list):
            top.node.append(node)
        elif top.key is None:
            raise self._error(event, "a mapping or a list can't be a key")
        else:
            if top.is_merge:
                top.merged.append(node)
            else:
                top.node[top.key] = node
            top.key = None

    def _error(self, event: Any, what: str) -> ValueError:
        return ValueError(f"{self._name}: line {event.start_mark.line + 1}: {what}")
