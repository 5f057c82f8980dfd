"""Draws the panels of a run in the grid of the dashboard, in the style of Grafana."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, MultipleLocator
from matplotlib.typing import RcKeyType

from picture.board import Tile
from picture.record import Line, Points, Record
from picture.units import written

COLUMNS = 24
COLUMN, ROW = 34.0, 24.0
"""Size of a grid cell in points of the picture; a point is two pixels."""
GAP = 3.0
LEFT, RIGHT, TOP, TICKS = 42.0, 8.0, 26.0, 15.0
"""Margins of the lines of a panel."""
LETTER, LEGEND_LINE, SWATCH = 4.3, 11.0, 14.0
"""Of a legend: width of a letter, height of a line, width of the colour mark."""
DPI = 144
MINUTE_S = 60
PAGE, PANEL, EDGE, GRID, TEXT, FAINT = (
    "#111217",
    "#181b1f",
    "#2c3037",
    "#26292f",
    "#ccccdc",
    "#8e8e99",
)
LINES = tuple(
    f"#{colour}"
    for colour in (
        *("73bf69", "f2cc0c", "5794f2", "ff780a", "f2495c", "b877d9", "6ed0e0", "ffa6b0"),
        *("37872d", "c0d8ff", "e0b400", "a352cc", "fa6400", "c8f2c2", "705da0"),
    )
)
COLOURS = {
    "green": "#73bf69",
    "blue": "#5794f2",
    "yellow": "#f2cc0c",
    "orange": "#ff780a",
    "red": "#f2495c",
    "text": TEXT,
}
STYLE: dict[RcKeyType, object] = {
    "font.size": 7,
    "axes.facecolor": PANEL,
    "axes.edgecolor": EDGE,
    "axes.linewidth": 0.5,
    "axes.prop_cycle": cycler(color=LINES),
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "lines.linewidth": 1.1,
    "text.color": TEXT,
}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in points, from the upper left corner of the picture."""

    x: float
    y: float
    width: float
    height: float


def picture(tiles: Sequence[Tile], record: Record) -> Figure:
    """Draw all tiles.

    Raises:
        KeyError: the record has no lines for a panel.
    """
    width = COLUMNS * COLUMN + GAP
    height = max(tile.y + tile.height for tile in tiles) * ROW + GAP
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width / 72, height / 72), dpi=DPI, facecolor=PAGE)
        for tile in tiles:
            _tile(figure, tile, record)
    return figure


def fitting(legends: Sequence[str], width: float) -> int:
    """Return how many columns of legends fit side by side; at least one."""
    longest = max((len(legend) for legend in legends), default=0)
    return max(1, min(len(legends), int(width / (longest * LETTER + SWATCH))))


def _tile(figure: Figure, tile: Tile, record: Record) -> None:
    box = Box(
        tile.x * COLUMN + GAP,
        tile.y * ROW + GAP,
        tile.width * COLUMN - GAP,
        tile.height * ROW - GAP,
    )
    match tile.kind:
        case "row":
            _write(figure, box.x + 2, box.y + 12, f"⌄  {tile.title}", size=9)
        case "stat":
            _panel(figure, box, tile.title)
            _number(figure, box, tile, record.lines[tile.title])
        case "timeseries":
            _panel(figure, box, tile.title)
            _curves(figure, box, tile, record)
        case other:
            raise ValueError(f"{tile.title}: unknown kind of panel: {other}")


def _place(figure: Figure, box: Box) -> tuple[float, float, float, float]:
    """Convert a rectangle to fractions of the figure, from the bottom, as matplotlib needs it."""
    width, height = (72 * size for size in figure.get_size_inches())
    return (
        box.x / width,
        1 - (box.y + box.height) / height,
        box.width / width,
        box.height / height,
    )


def _write(figure: Figure, x: float, y: float, text: str, **style: object) -> None:
    left, bottom, _, _ = _place(figure, Box(x, y, 0, 0))
    figure.text(left, bottom, text, **{"va": "center", **style})  # type: ignore[arg-type]


def _panel(figure: Figure, box: Box, title: str) -> None:
    left, bottom, width, height = _place(figure, box)
    frame = Rectangle(
        (left, bottom),
        width,
        height,
        facecolor=PANEL,
        edgecolor=EDGE,
        linewidth=0.6,
        zorder=-1,  # behind the lines
    )
    figure.add_artist(frame)
    _write(figure, box.x + 7, box.y + 12, title, weight="bold", size=7.5)


def _number(figure: Figure, box: Box, tile: Tile, lines: Sequence[Line]) -> None:
    """Write the last value, in the colour of its threshold."""
    value = [value for _, value in lines[0].points if not math.isnan(value)][-1]
    _write(
        figure,
        box.x + box.width / 2,
        box.y + box.height / 2 + 8,
        written(value, tile.unit, tile.decimals),
        size=20,
        weight="bold",
        ha="center",
        color=COLOURS[tile.colour(value)],
    )


def _curves(figure: Figure, box: Box, tile: Tile, record: Record) -> None:
    lines = record.lines[tile.title]
    if not lines:
        _write(figure, box.x + box.width / 2, box.y + box.height / 2, "No data", ha="center")
        return
    columns = fitting([line.legend for line in lines], box.width - LEFT)
    below = TICKS + LEGEND_LINE * math.ceil(len(lines) / columns) + 4
    inner = Box(box.x + LEFT, box.y + TOP, box.width - LEFT - RIGHT, box.height - TOP - below)
    axes = figure.add_axes(_place(figure, inner))
    if tile.stacked:
        _stack(axes, tile, lines)
    else:
        for place, line in enumerate(lines):
            at, values = zip(*line.points, strict=True)
            (drawn,) = axes.plot(at, values, label=line.legend, **_style(tile, line, place))
            axes.fill_between(at, values, alpha=0.1, linewidth=0, color=drawn.get_color())
    _scales(axes, tile, record)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -(TICKS + 1) / inner.height),
        ncols=columns,
        frameon=False,
        borderaxespad=0,
        handlelength=1.2,
        handletextpad=0.5,
        columnspacing=1.0,
        labelspacing=0.35,
        fontsize=6.5,
        labelcolor=TEXT,
    )


def _style(tile: Tile, line: Line, place: int) -> dict[str, Any]:
    """The colour of a line, if the dashboard sets one; each line of a shade is lighter."""
    colour = tile.colours.get(line.legend)
    if colour is not None:
        return {"color": COLOURS[colour]}
    if tile.shade is None:
        return {}
    white = 1 - 0.8**place
    return {"color": [part + (1 - part) * white for part in to_rgb(COLOURS[tile.shade])]}


def _stack(axes: Axes, tile: Tile, lines: Sequence[Line]) -> None:
    """Stack the lines; a line without a value at a time adds 0."""
    times = [at for at, _ in lines[0].points]
    heights = [[0.0 if math.isnan(value) else value for _, value in line.points] for line in lines]
    areas = axes.stackplot(times, heights, labels=[line.legend for line in lines], alpha=0.55)
    for place, (area, line) in enumerate(zip(areas, lines, strict=True)):
        area.set(**_style(tile, line, place))


def _scales(axes: Axes, tile: Tile, record: Record) -> None:
    axes.set_xlim(0, record.seconds)
    axes.set_ylim(0, _top(record.lines[tile.title], stacked=tile.stacked))
    axes.xaxis.set_major_locator(MultipleLocator(MINUTE_S))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}"))
    axes.yaxis.set_major_locator(_ticks(tile.unit, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, tile.unit)))
    axes.tick_params(length=0, labelsize=6.5)
    axes.tick_params(axis="x", pad=4)
    axes.tick_params(axis="y", pad=2)
    axes.grid(visible=True)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for number, at in enumerate(record.marks, start=1):
        axes.axvline(at, color=FAINT, linewidth=0.5, linestyle=(0, (2, 2)), zorder=0.5)
        axes.text(
            at,
            1.015,
            str(number),
            transform=axes.get_xaxis_transform(),
            size=5.5,
            ha="center",
            color=FAINT,
        )


def _ticks(unit: str, top: float) -> Locator:
    """Return round numbers: powers of two for bytes, whole minutes for long times."""
    if unit == "s" and top > 2 * MINUTE_S:
        return MultipleLocator(MINUTE_S * math.ceil(top / MINUTE_S / 4))
    if unit == "bytes":
        return MultipleLocator(2 ** math.ceil(math.log2(top / 4)))
    return MaxNLocator(nbins=4, min_n_ticks=3, steps=[1, 2, 5, 10])


def _top(lines: Sequence[Line], *, stacked: bool) -> float:
    """Return the end of the scale, a little above the highest point."""
    points: Points = list(itertools.chain.from_iterable(line.points for line in lines))
    if stacked:
        sums: dict[float, float] = {}
        for at, value in points:
            sums[at] = sums.get(at, 0.0) + (0.0 if math.isnan(value) else value)
        points = list(sums.items())
    highest = max((value for _, value in points if math.isfinite(value)), default=0.0)
    return 1.08 * highest if highest > 0 else 1.0
