"""Log lines: one form, the same fields everywhere, levels of parts."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator

import pytest

from image_share_operator import settings
from image_share_operator.telemetry import context, logs

FIELDS = {"time", "level", "logger", "msg"}


Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """All handlers and levels are put back."""
    names = ["", *logs.QUIET, *(name for area in logs.AREAS.values() for name in area)]
    loggers = {name: logging.getLogger(name) for name in names}
    before = {name: logger.level for name, logger in loggers.items()}
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers
    for name, logger in loggers.items():
        logger.setLevel(before[name])


def lines(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def in_a_pass(namespace: str, name: str) -> None:
    context.enter(namespace, name)
    context.works_on(3)
    await asyncio.sleep(0)  # another pass runs meanwhile
    logging.getLogger("image_share_operator.controller.status_writer").info(
        "said", extra={"job_id": "4711"}
    )


async def test_line_of_a_pass_says_whose_it_was_and_which(capsys: Capture) -> None:
    logs.configure("json", "info", {})

    await asyncio.gather(in_a_pass("demo", "web"), in_a_pass("prod", "db"))

    first, second = lines(capsys)
    assert (first["namespace"], first["name"], first["generation"]) == ("demo", "web", 3)
    assert (second["namespace"], second["name"]) == ("prod", "db")
    assert first["jobID"] == "4711"
    assert re.fullmatch("[0-9a-f]{8}", str(first["reconcileID"]))
    assert first["reconcileID"] != second["reconcileID"]


async def test_work_for_many_passes_belongs_to_none(capsys: Capture) -> None:
    logs.configure("json", "info", {})

    async def shared() -> None:
        logging.getLogger("image_share_operator.cloud.coalescing.batcher").info("sent")

    async def first() -> None:
        context.enter("demo", "web")
        await asyncio.create_task(shared(), context=context.shared())

    await asyncio.create_task(first())

    (line,) = lines(capsys)
    assert set(line) == FIELDS


def test_line_outside_a_pass_has_the_common_fields_alone(capsys: Capture) -> None:
    logs.configure("json", "info", {})

    logging.getLogger("image_share_operator").info("starts")

    (line,) = lines(capsys)
    assert set(line) == FIELDS
    assert (line["level"], line["logger"], line["msg"]) == (
        "INFO",
        "image_share_operator",
        "starts",
    )


def test_line_of_kopf_has_the_form_of_ours_and_no_trace(capsys: Capture) -> None:
    logs.configure("json", "info", {})

    try:
        int("inside kopf")
    except ValueError:
        logging.getLogger("kopf.activities").exception("Activity failed")

    (line,) = lines(capsys)
    assert set(line) == FIELDS
    assert line["msg"] == "Activity failed"


async def test_text_names_the_object_of_each_line_of_a_pass_once(capsys: Capture) -> None:
    logs.configure("text", "info", {})

    context.enter("demo", "web")
    logging.getLogger("image_share_operator.cloud.http.client").warning("GET /x: HTTP 503")
    logging.getLogger("image_share_operator.controller.status_writer").info(
        "demo/web: Ready True, Accepted"
    )

    told = [line.split(maxsplit=2)[2] for line in capsys.readouterr().err.splitlines()]
    assert told == ["demo/web: GET /x: HTTP 503", "demo/web: Ready True, Accepted"]


def test_text_shows_the_id_that_support_asks_for(capsys: Capture) -> None:
    logs.configure("text", "info", {})

    logging.getLogger("image_share_operator.cloud.http.client").warning(
        "PUT /x: HTTP 503", extra={"request_id": "abc-1"}
    )

    assert capsys.readouterr().err.endswith("WARNING PUT /x: HTTP 503 (X-Request-Id abc-1)\n")


def test_part_has_a_level_of_its_own(capsys: Capture) -> None:
    logs.configure("text", "warning", {"cloud": "debug", "watch": "error"})

    logging.getLogger("image_share_operator.cloud.http.client").debug("shown")
    logging.getLogger("image_share_operator.controller.status_writer").info("not shown")
    logging.getLogger("image_share_operator.handlers").warning("not shown either")
    logging.getLogger("kopf.activities").warning("nor this")

    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().err.splitlines()] == ["shown"]


def test_parts_are_those_that_the_settings_take() -> None:
    assert tuple(logs.AREAS) == settings.LOG_AREAS


def test_settings_take_levels_of_parts() -> None:
    read = settings.Settings.from_env({"ISA_LOG_LEVEL": "warning, cloud=DEBUG,watch=error"})

    assert read.log_levels.general == "warning"
    assert read.log_levels.components == {"cloud": "debug", "watch": "error"}
    assert settings.Settings.from_env({}).log_levels.components == {}
