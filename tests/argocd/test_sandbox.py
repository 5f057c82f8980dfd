"""The sandbox gives scripts what Argo CD gives them, and no more."""

from datetime import UTC, datetime

import pytest

from argocd import sandbox
from argocd.sandbox import ScriptError

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "script",
    [
        'return string.format("%d", 1)',
        'return ("x"):upper()',
        "return math.floor(1.5)",
        "return os.time()",
        'return io.open("/etc/hostname")',
        'return require("string")',
        'return require("os").getenv("HOME")',
        'return require("os").date("%Y")',
        'return require("os").date("!%T")',
        "return python.eval",
        'return loadstring("return 1")()',
        "return getfenv(0).string",
        "return 1 +",
        'error("broken")',
    ],
)
def test_script_that_reaches_for_more_fails(script: str) -> None:
    with pytest.raises(ScriptError):
        sandbox.run(script, {})


def test_script_has_tables_and_the_time() -> None:
    script = 'return {require("os").date("!%Y-%m-%dT%H:%M:%SZ"), table.concat({"a", "b"}, "-")}'

    assert sandbox.run(script, {}, lambda: NOW) == ["2026-05-04T03:02:01Z", "a-b"]


def test_script_sees_the_object_as_argo_cd_decodes_it() -> None:
    obj = {"number": 2, "absent": None, "list": [{"a": "b"}], "yes": True}
    script = (
        'return {n = "is " .. obj.number, a = obj.absent == nil, l = obj.list[1].a, y = obj.yes}'
    )

    assert sandbox.run(script, obj) == {"n": "is 2", "a": True, "l": "b", "y": True}


@pytest.mark.parametrize(
    "script",
    [
        "return nil",
        "return {}",
        'return {status = "Fine"}',
        'return {status = "Healthy", message = 1}',
    ],
)
def test_answer_that_is_no_health_is_refused(script: str) -> None:
    with pytest.raises(ScriptError):
        sandbox.health(script, {})


def test_action_leaves_empty_objects_and_lists_as_they_were() -> None:
    given = {"map": {}, "list": [], "deep": [{"map": {}}], "new": 1}

    made = sandbox.act("obj.new = 2 return obj", given)

    assert made == {"map": {}, "list": [], "deep": [{"map": {}}], "new": 2}
