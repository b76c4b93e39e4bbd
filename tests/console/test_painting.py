"""What was cut for a screen that has gone is not kept."""

from __future__ import annotations

from rich.segment import Segment

from tui.console.painting import forget


def test_pieces_of_old_screens_are_forgotten() -> None:
    Segment("09:41:07 ▲ データ-1: the freeze was lost").split_cells(12)
    assert Segment._split_cells.cache_info().currsize > 0
    forget()
    assert Segment._split_cells.cache_info().currsize == 0
