"""The console's keys; each has an id by which it can be bound anew, and a line in the help."""

from __future__ import annotations

from textual.binding import Binding, BindingType

ACTIONS: list[BindingType] = [
    Binding(
        "space",
        "mark",
        "Mark",
        id="mark",
        tooltip="Mark the VM, or take its mark away",
    ),
    Binding(
        "f",
        "freeze",
        "Freeze",
        id="freeze",
        tooltip="Freeze the marked VMs, or this one; asks first",
    ),
    Binding(
        "t",
        "thaw",
        "Thaw",
        id="thaw",
        tooltip="Thaw the marked VMs, or this one; asks first",
    ),
    Binding(
        "x",
        "stop",
        "Stop waiting",
        id="stop",
        tooltip="Stop waiting, and thaw when it answers; asks first",
    ),
    Binding(
        "r",
        "look",
        "Look again",
        id="look",
        show=False,
        tooltip="Visit this VM now, not at its time",
    ),
]

VIEWS: list[BindingType] = [
    Binding("s", "sort", "Sort", id="sort", tooltip="Sort by something else"),
    Binding(
        "slash",
        "filter",
        "Filter",
        key_display="/",
        id="filter",
        tooltip="Show only what has these words; !word hides",
    ),
    Binding(
        "enter",
        "enlarge",
        "Enlarge",
        id="enlarge",
        show=False,
        tooltip="Enlarge the pane, or make it small again",
    ),
    Binding(
        "tab",
        "app.focus_next",
        "Pane",
        id="pane",
        show=False,
        tooltip="To the facts and the log: the same keys scroll",
    ),
    Binding(
        "escape",
        "clear",
        "Clear",
        id="clear",
        show=False,
        tooltip="Leave a dialog; clear the filter, then the marks",
    ),
    Binding(
        "question_mark",
        "help",
        "Help",
        key_display="?",
        id="help",
        tooltip="All keys, and what the signs mean",
    ),
    Binding(
        "q",
        "leave",
        "Quit",
        key_display="q",
        id="quit",
        tooltip="Quit; what is frozen is thawed first",
    ),
    Binding("ctrl+c", "leave", "Quit", show=False, id="quit.too", tooltip="Quit"),
]
