"""Reads YAML with the types that kubectl reads, and writes YAML that all readers read alike.

YAML 1.1, YAML 1.2 and go-yaml give different types to a scalar such as ``1e3``, ``012``, ``yes`` or
``1:30``. kubectl uses go-yaml v2 and converts its result to JSON (sigs.k8s.io/yaml), so a manifest
means what they make of it. `tests/cli/test_yaml_codec.py` compares this module with kubectl.
No I/O.
"""

import base64
import binascii
import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

_TAG = "tag:yaml.org,2002:"
_BOOL, _INT, _FLOAT, _NULL = (f"{_TAG}{kind}" for kind in ("bool", "int", "float", "null"))
_STR, _TIME, _MERGE, _BINARY = (f"{_TAG}{kind}" for kind in ("str", "timestamp", "merge", "binary"))

_COLLECTIONS: dict[type[Node], str] = {
    SequenceNode: f"{_TAG}seq",
    MappingNode: f"{_TAG}map",
}


def _cases(*words: str) -> frozenset[str]:
    """Return each word in lower case, in upper case and capitalized: go-yaml knows these three."""
    return frozenset(form for word in words for form in (word, word.upper(), word.capitalize()))


_TRUE = _cases("y", "yes", "true", "on")
_FALSE = _cases("n", "no", "false", "off")
_NOTHING = _cases("null") | {"", "~"}
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FRACTION = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?")
_INT64 = range(-(2**63), 2**63)
_INTEGERS = range(-(2**63), 2**64)
"""What go-yaml reads as an integer: int64 and uint64."""
_SHORTEST_EXPONENT = 1e21
"""From this number on, Go writes a float as JSON with an exponent."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9./_-]*(:[A-Za-z0-9./_-]+)*")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = frozenset(
    ("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "inf", "infinity", "nan")
)


def documents(text: bytes) -> Iterator[object]:
    """Yield the documents of a YAML or JSON file as JSON values.

    Raises:
        yaml.YAMLError: kubectl cannot read the file. The message may quote the file.
    """
    if text.lstrip()[:1] == b"{":
        try:
            # JSON first, as kubectl does: YAML allows no tabs as indentation.
            yield from list(_json_documents(text.decode()))
        except ValueError:
            pass
        else:
            return
    loader = _Loader(text)
    try:
        while loader.check_data():  # type: ignore[no-untyped-call] # PyYAML
            yield loader.get_data()
    finally:
        loader.dispose()


def _json_documents(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder(parse_constant=_refuse)
    start = 0
    while rest := text[start:].lstrip():
        start = len(text) - len(rest)
        document, start = cast("tuple[object, int]", decoder.raw_decode(text, start))
        yield document


def _refuse(constant: str) -> object:
    raise ValueError(f"JSON has no {constant}")


def dump(value: object) -> str:
    """Return the value as YAML with every ambiguous string in quotes."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)


def scalar(text: str) -> str:
    """Return a string as `dump` writes it."""
    return text if _is_plain(text) else json.dumps(text)


def _is_plain(text: str) -> bool:
    """Whether every YAML reader reads the text without quotes as this string."""
    return bool(_UUID.fullmatch(text) or (_PLAIN.fullmatch(text) and text.lower() not in _WORDS))


def _resolve(text: str) -> tuple[str, object]:
    """Return the tag and the value that go-yaml v2 gives to a scalar without quotes."""
    if text in _NOTHING:
        return _NULL, None
    if text in _TRUE or text in _FALSE:
        return _BOOL, text in _TRUE
    if text == "<<":
        return _MERGE, text
    if _NO_NUMBER.fullmatch(text):
        return _FLOAT, math.nan
    if text.startswith("."):
        number = float(text) if _FRACTION.fullmatch(text) else math.inf
    elif text[0] in "+-0123456789":
        digits = text.replace("_", "")  # go-yaml ignores underscores, wherever they are
        if _INTEGER.fullmatch(digits) and _integer(digits) in _INTEGERS:
            return _INT, _integer(digits)
        number = float(digits) if _DECIMAL.fullmatch(digits) else math.inf
    else:
        return _STR, text
    return (_FLOAT, number) if math.isfinite(number) else (_STR, text)


def _integer(digits: str) -> int:
    """Read an integer as Go does: a leading zero means octal."""
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)


def _as_json(number: float) -> int | float:
    """Return the number after its way through JSON: as int64 if it fits, else as float64."""
    whole: int | None = None
    if isinstance(number, int):
        whole = number
    elif number.is_integer() and abs(number) < _SHORTEST_EXPONENT:
        whole = int(Decimal(repr(number)))  # the digits that Go writes, which are the shortest
    return float(number) if whole is None or whole not in _INT64 else whole


class _Loader(yaml.SafeLoader):
    """Gives scalars the types of go-yaml, and keys the type that JSON has."""

    def resolve(self, kind: type[Node], value: str, implicit: Any) -> str:
        if kind is ScalarNode and implicit[0]:
            return _resolve(value)[0]
        return _STR if kind is ScalarNode else _COLLECTIONS[kind]

    def construct_document(self, node: Node) -> object:
        # Deep, so that a value that contains itself is an error, as in go-yaml.
        value = self.construct_object(node, deep=True)
        self.constructed_objects = {}
        self.recursive_objects = {}
        return value

    def number(self, node: ScalarNode) -> object:
        tag, value = _resolve(node.value)
        if tag not in (_INT, _FLOAT) or (tag, node.tag) == (_FLOAT, _INT):
            self.fail(node)
        number = cast("float", value)
        if math.isnan(number):
            self.fail(node)
        return _as_json(number)

    def truth(self, node: ScalarNode) -> object:
        tag, value = _resolve(node.value)
        return value if tag == _BOOL else self.fail(node)

    def nothing(self, node: ScalarNode) -> object:
        return None if _resolve(node.value)[0] == _NULL else self.fail(node)

    def text(self, node: ScalarNode) -> object:
        return self.construct_scalar(node)

    def binary(self, node: ScalarNode) -> object:
        try:
            return base64.b64decode(node.value, validate=True).decode()
        except (binascii.Error, ValueError):
            return self.fail(node)

    def mapping(self, node: MappingNode) -> object:
        self.flatten_mapping(node)
        return {self.key(key): self.construct_object(value, deep=True) for key, value in node.value}

    def key(self, node: Node) -> str:
        match self.construct_object(node, deep=True):
            case str() as text:
                return text
            case bool() as truth:
                return "true" if truth else "false"
            case int() | float() as number:
                return f"{number:g}" if isinstance(number, float) else str(number)
            case _:
                return str(self.fail(node))

    def fail(self, node: Node) -> Any:
        raise ConstructorError(None, None, "not a JSON value", node.start_mark)

    def unknown(self, node: Node) -> object:
        """Ignore an unknown tag, as go-yaml does."""
        if isinstance(node, ScalarNode):
            return self.construct_scalar(node)
        if isinstance(node, MappingNode):
            return self.mapping(node)
        return self.construct_sequence(cast("SequenceNode", node), deep=True)


_Loader.yaml_constructors = {
    _INT: _Loader.number,
    _FLOAT: _Loader.number,
    _BOOL: _Loader.truth,
    _NULL: _Loader.nothing,
    _STR: _Loader.text,
    _TIME: _Loader.text,
    _BINARY: _Loader.binary,
    None: _Loader.unknown,
}


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and each ambiguous string in double quotes."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True

    def string(self, text: str) -> ScalarNode:
        style = None if _is_plain(text) else '"'
        return self.represent_scalar(_STR, text, style=style)


_Dumper.add_representer(str, _Dumper.string)
