"""The keys of single widgets: they mean this while the widget has the focus."""

from __future__ import annotations

from textual.binding import Binding, BindingType

MOVES: list[BindingType] = [
    Binding("up,k", "move(-1)", "Up", show=False, id="vms.up", tooltip="The VM above"),
    Binding("down,j", "move(1)", "Down", show=False, id="vms.down", tooltip="The VM below"),
    Binding("home,g", "first", "First", show=False, id="vms.first", tooltip="The first VM"),
    Binding("end,G", "last", "Last", show=False, id="vms.last", tooltip="The last VM"),
    Binding(
        "pageup,ctrl+b",
        "page(-1)",
        "Page up",
        show=False,
        id="vms.page_up",
        tooltip="One screenful up",
    ),
    Binding(
        "pagedown,ctrl+f",
        "page(1)",
        "Page down",
        show=False,
        id="vms.page_down",
        tooltip="One screenful down",
    ),
    Binding(
        "left,h",
        "columns(-1)",
        "Columns left",
        show=False,
        id="vms.left",
        tooltip="Back to the columns on the left",
    ),
    Binding(
        "right,l",
        "columns(1)",
        "Columns right",
        show=False,
        id="vms.right",
        tooltip="To the columns that don't fit; the name stays",
    ),
    Binding(
        "right_square_bracket",
        "trouble(1)",
        "Next trouble",
        show=False,
        id="vms.next_trouble",
        tooltip="To the next VM in trouble below",
    ),
    Binding(
        "left_square_bracket",
        "trouble(-1)",
        "Trouble above",
        show=False,
        id="vms.trouble_above",
        tooltip="To the next VM in trouble above",
    ),
]

MARKS: list[BindingType] = [
    Binding(
        "shift+up,K",
        "extend(-1)",
        "Mark upwards",
        show=False,
        id="vms.mark_up",
        tooltip="Mark from here upwards",
    ),
    Binding(
        "shift+down,J",
        "extend(1)",
        "Mark downwards",
        show=False,
        id="vms.mark_down",
        tooltip="Mark from here downwards",
    ),
    Binding(
        "v",
        "mark_to_here",
        "Mark to here",
        show=False,
        id="vms.mark_to",
        tooltip="Mark from the last mark to here; Shift-click too",
    ),
    Binding(
        "a,asterisk",
        "mark_shown",
        "Mark all",
        show=False,
        id="vms.mark_all",
        tooltip="Mark all that the filter shows; Esc clears",
    ),
]

LOG: list[BindingType] = [
    Binding(
        "slash",
        "search",
        "Search",
        key_display="/",
        priority=True,
        id="log.search",
        tooltip="Search the log as you type, from its end",
    ),
    Binding(
        "n",
        "match(1)",
        "Next match",
        show=False,
        id="log.next",
        tooltip="To the next match below",
    ),
    Binding(
        "N",
        "match(-1)",
        "Previous match",
        show=False,
        id="log.previous",
        tooltip="To the match above",
    ),
    Binding(
        "escape",
        "leave_search",
        "Leave the search",
        show=False,
        id="log.leave",
        tooltip="Leave the search; the log stays where it is",
    ),
]
