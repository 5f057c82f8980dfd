"""The picture of the dashboard: each panel is asked for, drawn, and fits; the page tells of it."""

import io
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from picture import board, draw, record, units
from picture.record import Line, Record
from picture.story import CHAPTERS, LASTS_S
from prom.server import JOB, Series

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dashboard.md").read_text()
TILES = board.read()
GRAPHS = [tile for tile in TILES if tile.kind == "timeseries"]
PANELS = [tile for tile in TILES if tile.asks]
LONGEST = "GET /v2/images/{image_id}/members/{member_id}"
PNG_MAX = 400_000


class Answering:
    """A Prometheus that has two series for everything."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def series(self, expression: str, start: float, end: float, step: float) -> Series:
        self.asked.append(expression)
        times = [start + step * number for number in range(int((end - start) / step))]
        names = ("reason", "route", "result", "error", "version", "instance")
        labels: list[dict[str, str]] = [dict.fromkeys(names, name) for name in (LONGEST, "b")]
        return [
            (row, [(at, math.nan if at < start + 3 else 7.5) for at in times]) for row in labels
        ]


@pytest.fixture(scope="module")
def prometheus() -> Answering:
    return Answering()


@pytest.fixture(scope="module")
def run(prometheus: Answering) -> Record:
    lines = {tile.title: record.ask(prometheus, tile, 1000.0, 1060.0) for tile in PANELS}
    return Record(60.0, [10.0, 30.0], lines)


@pytest.fixture(scope="module")
def drawn(run: Record) -> Figure:
    figure = draw.picture(TILES, run)
    figure.savefig(io.BytesIO())
    return figure


def boxes(figure: Figure) -> Iterator[tuple[str, Bbox]]:
    """Each legend, each graph's inner part and each text of the picture, in pixels."""
    for number, axes in enumerate(figure.axes):
        legend = axes.get_legend()
        assert legend is not None
        yield f"legend {number}", legend.get_window_extent()
        yield f"graph {number}", axes.get_window_extent()
    for text in figure.texts:
        yield text.get_text(), text.get_window_extent()


def test_each_expression_of_each_panel_is_asked(prometheus: Answering, run: Record) -> None:
    del run

    assert len(prometheus.asked) == sum(len(tile.asks) for tile in PANELS)
    assert not any("$" in asked for asked in prometheus.asked)
    assert all(f'job=~"{JOB}"' in asked for asked in prometheus.asked)


def test_unknown_variable_raises_an_error() -> None:
    with pytest.raises(KeyError, match="cluster"):
        board.filled("up{cluster=~'$cluster'}", record.VARIABLES)


def test_each_panel_is_drawn_with_all_its_lines(run: Record, drawn: Figure) -> None:
    titles = [text.get_text().removeprefix("⌄  ") for text in drawn.texts]

    assert [title for title in (tile.title for tile in TILES) if title not in titles] == []
    assert len(drawn.axes) == len(GRAPHS)
    for tile, axes in zip(GRAPHS, drawn.axes, strict=True):
        legends = axes.get_legend_handles_labels()[1]
        assert legends == [line.legend for line in run.lines[tile.title]]
    numbers = [tile for tile in PANELS if tile.kind == "stat"]
    assert {units.written(7.5, tile.unit, tile.decimals) for tile in numbers} <= {*titles}


def test_lines_are_seen(drawn: Figure) -> None:
    shot = io.BytesIO()
    drawn.savefig(shot)
    with Image.open(shot) as png:
        picture = png.convert("RGB")

    height = picture.height
    for tile, axes in zip(GRAPHS, drawn.axes, strict=True):
        box = axes.get_window_extent()
        inner = picture.crop((int(box.x0), int(height - box.y1), int(box.x1), int(height - box.y0)))
        assert len({colour for _, colour in inner.getcolors(2**24) or []}) > 10, tile.title


def test_nothing_overlaps_and_nothing_is_cut_off(drawn: Figure) -> None:
    found = list(boxes(drawn))

    for (one, first), (other, second) in itertools.combinations(found, 2):
        assert not first.overlaps(second), (one, other)
    for name, box in found:
        assert drawn.bbox.containsx(box.x0), name
        assert drawn.bbox.containsx(box.x1), name


def test_panel_without_a_record_raises_an_error(run: Record) -> None:
    lines = {title: rows for title, rows in run.lines.items() if title != "Memory"}

    with pytest.raises(KeyError, match="Memory"):
        draw.picture(TILES, replace(run, lines=lines))


def test_panel_without_any_series_says_so(run: Record) -> None:
    figure = draw.picture(TILES, replace(run, lines={**run.lines, "Memory": []}))

    assert "No data" in [text.get_text() for text in figure.texts]


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    kept = Record(60.0, [1.0], {"Queue": [Line("due", [(0.0, 1.0), (1.0, 2.5)])]})

    kept.save(tmp_path / "kept.json")

    assert record.load(tmp_path / "kept.json") == kept


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [
        (0.0, "none", None, "0"),
        (250.0, "none", None, "250"),
        (12345.6, "none", None, "12346"),
        (0.984, "percentunit", 1, "98.4%"),
        (1.0, "percentunit", None, "100%"),
        (0.0, "s", 1, "0 s"),
        (0.0, "s", None, "0 s"),
        (0.25, "s", None, "250 ms"),
        (1.5, "s", None, "1.5 s"),
        (90.0, "s", None, "1.5 min"),
        (7200.0, "s", None, "2 hour"),
        (12.345, "ops", None, "12.3 ops/s"),
        (0.05, "reqps", None, "0.05 req/s"),
        (0.0, "bytes", None, "0 B"),
        (131.5 * 2**20, "bytes", None, "132 MiB"),
    ],
)
def test_numbers_are_written_as_grafana_does(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    assert units.written(value, unit, decimals) == text


def test_each_unit_of_the_dashboard_is_known() -> None:
    for tile in TILES:
        assert units.written(1.0, tile.unit)


def test_colour_is_that_of_the_highest_step() -> None:
    ready = next(tile for tile in TILES if tile.title == "Ready")

    assert (ready.colour(1.0), ready.colour(0.99)) == ("green", "red")


def test_page_tells_the_story_and_explains_each_panel() -> None:
    clock = [f"{chapter.at_s // 60:.0f}:{chapter.at_s % 60:02.0f}" for chapter in CHAPTERS]
    told = [
        f"| {number} | {at} | {chapter.words} |"
        for number, (at, chapter) in enumerate(zip(clock, CHAPTERS, strict=True), start=1)
    ]

    assert [row for row in told if row not in PAGE] == []
    assert [tile.title for tile in TILES if f"**{tile.title}**" not in PAGE and tile.asks] == []
    assert [tile.title for tile in TILES if f"## {tile.title}" not in PAGE and not tile.asks] == []
    assert all(
        earlier.at_s < later.at_s < LASTS_S for earlier, later in itertools.pairwise(CHAPTERS)
    )


def test_picture_is_small_enough_for_a_page() -> None:
    picture = ROOT / "docs/images/dashboard.png"

    assert "(images/dashboard.png)" in PAGE
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < PNG_MAX
