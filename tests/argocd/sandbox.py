"""Runs a Lua script on an object as Argo CD does, with nothing that Argo CD does not give it.

Argo CD embeds gopher-lua: Lua 5.1 with the libraries package, base and table. There is no
`string`, `math`, `io` or `debug`, no global `os`, and strings have no methods; `require("os")`
gives `time` and `date` alone. Source: argo-cd, util/lua/lua.go and oslib_safe.go, v3.2.0 and
v3.6.1.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

lua51: Any = import_module("lupa.lua51")  # its stubs do not know the arguments used here

Json = dict[str, Any]
Clock = Callable[[], datetime]
"""Gives the aware UTC time that a script sees as now."""

BASE = (
    "_VERSION assert error getmetatable ipairs next pairs pcall print rawequal rawget rawset "
    "select setmetatable tonumber tostring type unpack xpcall"
)
"""Of the base library, less what reads files, compiles code or leads out of here."""
TABLE = "concat insert maxn remove sort"
DATE_PARTS = {
    "Y": slice(4),
    "m": slice(5, 7),
    "d": slice(8, 10),
    "H": slice(11, 13),
    "M": slice(14, 16),
    "S": slice(17, 19),
}
"""Of a time in ISO 8601, by the letters for them that gopher-lua's `os.date` knows.

It leaves what it does not know as it is.
"""

HEALTH = frozenset({"Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"})
"""Any other word is Unknown to Argo CD."""

STRIP = """
local date, time, base, tables = ...
local modules = { os = { date = date, time = time }, table = {} }
for name in tables:gmatch("%a+") do modules.table[name] = table[name] end
local kept = { table = modules.table }
for name in base:gmatch("[%a_]+") do kept[name] = _G[name] end
kept._G = kept
function kept.require(name)
  if modules[name] == nil then error("module " .. name .. " not found") end
  return modules[name]
end
getmetatable("").__index = nil
return kept
"""


class ScriptError(Exception):
    """A script failed, or returned what Argo CD does not take."""


def run(script: str, obj: Mapping[str, Any], now: Clock = lambda: datetime.now(UTC)) -> Any:
    """Run ``script`` with the global ``obj``; return what it returns, as Argo CD encodes it.

    An empty table comes out as an empty list: Lua does not tell one from the other.

    Raises:
        ScriptError: with Lua's own words.
    """
    lua = lua51.LuaRuntime(
        register_eval=False, register_builtins=False, attribute_filter=_no_attribute
    )
    kept = lua.execute(STRIP, _date_by(now), lambda: int(now().timestamp()), BASE, TABLE)
    kept["obj"] = _to_lua(lua, obj)
    load = lua.globals()["loadstring"]
    confine = lua.globals()["setfenv"]
    try:
        chunk = load(script, "@script")
        if isinstance(chunk, tuple):
            raise ScriptError(chunk[1])
        return _from_lua(confine(chunk, kept)())
    except lua51.LuaError as exc:
        raise ScriptError(str(exc)) from exc


def health(script: str, obj: Mapping[str, Any]) -> dict[str, str]:
    """Run a health script; return ``status`` and, where it has words, ``message`` and others.

    Raises:
        ScriptError: the script failed, or its answer is no health.
    """
    answer = run(script, obj)
    if not isinstance(answer, dict) or answer.get("status") not in HEALTH:
        raise ScriptError(f"no health: {answer}")
    if not all(isinstance(words, str) for words in answer.values()):
        raise ScriptError(f"words that are no text: {answer}")
    return answer


def actions(script: str, obj: Mapping[str, Any]) -> dict[str, bool]:
    """Run a discovery script; return whether each action is disabled."""
    return {name: bool(action["disabled"]) for name, action in run(script, obj).items()}


def act(script: str, obj: Json, now: Clock = lambda: datetime.now(UTC)) -> Json:
    """Run an action; return the object as Argo CD would compare it with the live one."""
    changed = run(script, obj, now)
    if not isinstance(changed, dict):
        raise ScriptError(f"no object: {changed}")
    return _with_empty_objects(changed, obj)


def _with_empty_objects(new: Json, old: Mapping[str, Any]) -> Json:
    """Turn empty lists back into the empty objects that they were before Lua."""
    return {name: _restored(value, old.get(name)) for name, value in new.items()}


def _restored(new: Any, old: Any) -> Any:
    match new, old:
        case [], dict():
            return {}
        case dict(), dict():
            return _with_empty_objects(new, old)
        case list(), list():
            pairs = zip(new, [*old, *new[len(old) :]], strict=False)
            return [_restored(value, before) for value, before in pairs]
        case _:
            return new


def _no_attribute(_obj: object, name: object, _setting: bool) -> object:
    raise AttributeError(f"Lua reached for {name} of a Python object")


def _date_by(now: Clock) -> Callable[[str], str]:
    """`os.date` for a time in UTC; refuses what gopher-lua would not replace."""

    def date(wanted: str) -> str:
        if not wanted.startswith("!"):
            raise ScriptError(f"os.date({wanted!r}): local time depends on where Argo CD runs")
        first, *rest = wanted[1:].split("%")
        unknown = {part[:1] for part in rest} - set(DATE_PARTS)
        if unknown:
            raise ScriptError(f"os.date({wanted!r}): unknown to gopher-lua: {sorted(unknown)}")
        time = now().astimezone(UTC).isoformat()
        return first + "".join(time[DATE_PARTS[part[0]]] + part[1:] for part in rest)

    return date


def _to_lua(lua: Any, value: Any) -> Any:
    """The value as Argo CD decodes it; ``None`` is absent."""
    if isinstance(value, Mapping):
        return lua.table_from({key: _to_lua(lua, item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return lua.table_from([_to_lua(lua, item) for item in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua51.lua_type(value) != "table":
        return value
    items = dict(value.items())
    if all(isinstance(key, int) for key in items):
        return [_from_lua(items[index]) for index in sorted(items)]
    return {str(key): _from_lua(item) for key, item in items.items()}
