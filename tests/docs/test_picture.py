"""The page of the dashboard explains each panel, and tells the story of its picture."""

import itertools
from pathlib import Path

from picture import board, units
from picture.story import CHAPTERS, LASTS_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/dashboard.md").read_text()
TILES = board.read()
PNG_MAX = 400_000


def test_each_unit_of_the_dashboard_is_known() -> None:
    for tile in TILES:
        assert units.written(1.0, tile.unit)


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
