"""The console's keys; each has an id by which it can be bound anew, and a line in the help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from textual.binding import Binding, BindingType

from tui.console.widget_keys import LOG, MARKS, MOVES
from tui.shared.key_names import key_name

ACTIONS: list[BindingType] = [
    Binding(
        "space",
        "mark",
        "Mark",
        id="mark",
        tooltip="Mark the VM, or take its mark away, and go down",
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
        "c",
        "copy",
        "Copy",
        id="copy",
        tooltip="Copy the disks of the marked VMs, or this one; asks first",
    ),
    Binding(
        "T",
        "thaw_all",
        "Thaw all",
        id="thaw.all",
        show=False,
        tooltip="Thaw all that this console froze, or all that is frozen; asks first",
    ),
    Binding(
        "e",
        "extend",
        "Extend",
        id="extend",
        show=False,
        tooltip="Hold a window for longer, also another frostwatch's; asks first",
    ),
    Binding(
        "A",
        "attach",
        "Attach",
        id="attach",
        show=False,
        tooltip="Take over a window that a frostwatch has left to its holder",
    ),
    Binding(
        "y",
        "copy_next",
        "Next command",
        id="copy.next",
        show=False,
        tooltip="Copy the next command: of the open window, else of this VM",
    ),
    Binding(
        "x",
        "stop",
        "Stop",
        id="stop",
        tooltip="Stop waiting, and thaw when it answers; or stop a copy",
    ),
    Binding(
        "R",
        "rescue",
        "Rescue",
        id="rescue",
        show=False,
        tooltip="The ladder for a VM that stays frozen; asks first",
    ),
    Binding(
        "H",
        "past",
        "History",
        id="past",
        show=False,
        tooltip="This VM's past freezes and thaws, and how long they take",
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

# Those that a read-only console refuses; marks are for them alone.
ACTING: Final = frozenset(
    {"mark", "freeze", "thaw", "thaw.all", "copy", "extend", "attach", "stop", "rescue"}
)

PAGES: list[BindingType] = [
    Binding(
        "i,f2",
        "explain",
        "Explain",
        id="explain",
        show=False,
        tooltip="What this VM's states and its outcome mean, and what to do",
    ),
    Binding(
        "d",
        "details",
        "Details",
        id="details",
        show=False,
        tooltip="All of this VM on the whole screen: evidence, guest, log, past",
    ),
    Binding(
        "E",
        "events",
        "Events",
        id="events",
        show=False,
        tooltip="What has happened to all VMs, in one list",
    ),
    Binding(
        "w",
        "take",
        "Take away",
        id="take",
        show=False,
        tooltip="Copy an error, a command or a log; save a log, a report or a picture",
    ),
]

VIEWS: list[BindingType] = [
    Binding("s", "sort", "Sort", id="sort", tooltip="Sort by something else"),
    Binding(
        "S",
        "reverse",
        "Reverse",
        id="reverse",
        show=False,
        tooltip="Sort the other way round",
    ),
    Binding(
        "greater_than_sign",
        "sort_column(1)",
        "Sort further right",
        show=False,
        id="sort.next",
        tooltip="Sort by the column to the right; a click on a title too",
    ),
    Binding(
        "less_than_sign",
        "sort_column(-1)",
        "Sort further left",
        show=False,
        id="sort.previous",
        tooltip="Sort by the column to the left",
    ),
    Binding(
        "L",
        "longest",
        "Longest",
        id="longest",
        show=False,
        tooltip="To the VM that has been frozen longest",
    ),
    Binding(
        "slash",
        "filter",
        "Filter",
        key_display="/",
        priority=True,  # see `FrostwatchApp.check_action`
        id="filter",
        tooltip="Show only what has these words; !word hides",
    ),
    Binding(
        "C",
        "columns",
        "Columns",
        show=False,
        id="columns",
        tooltip="Which columns are shown, and in which order",
    ),
    Binding(
        "Y",
        "next_theme",
        "Next theme",
        show=False,
        id="theme",
        tooltip="Other colours: dark, light, high contrast, …, your own",
    ),
    Binding(
        "plus",
        "split(1)",
        "Larger pane",
        show=False,
        id="pane.larger",
        tooltip="A line more for the pane; dragging its title does it too",
    ),
    Binding(
        "minus",
        "split(-1)",
        "Smaller pane",
        show=False,
        id="pane.smaller",
        tooltip="A line more for the table",
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
        tooltip="To the facts and the log, and back",
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
        "colon,ctrl+p",
        "palette",
        "Commands",
        key_display=":",
        show=False,
        id="palette",
        tooltip="Every action by its name, and why one can't be done now",
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
    Binding(
        "ctrl+c",
        "leave",
        "Quit",
        show=False,
        priority=True,  # wherever the focus is, also in a dialog
        id="quit.too",
        tooltip="Quit, from everywhere",
    ),
    Binding(
        "ctrl+z",
        "stop_console",
        "Stop the console",
        show=False,
        priority=True,
        id="stop.console",
        tooltip="Stop the console, as a shell's fg lets it go on",
    ),
]

Groups = tuple[tuple[str, Sequence[BindingType]], ...]

# Whose actions they are: the app's, the table's, the pane's.
PLACES: Groups = (
    ("app", [*ACTIONS, *PAGES, *VIEWS]),
    ("table", [*MOVES, *MARKS]),
    ("pane", LOG),
)


def keys_of(binding: Binding, changed: Mapping[str, str]) -> str:
    """Return the keys of a binding as a person writes them.

    Args:
        binding: the action, with its usual keys.
        changed: the keys that actions have in the place of their usual ones, by the actions' ids.
    """
    keys = changed.get(binding.id or "", binding.key)
    return " ".join(key_name(key) for key in keys.split(","))


def besides(changed: Mapping[str, str], fixed: Sequence[BindingType]) -> dict[str, str]:
    """Return the keys that are set, without those of bindings that can be given no others.

    Args:
        changed: the keys that actions have in the place of their usual ones, by the actions' ids.
        fixed: bindings of a console of its own kind, which a line on its screen names.
    """
    taken = {key for one in fixed if isinstance(one, Binding) for key in one.key.split(",")}
    left = {
        action: ",".join(key for key in keys.split(",") if key not in taken)
        for action, keys in changed.items()
    }
    return {action: keys for action, keys in left.items() if keys}


HELP: Groups = (
    ("Guests", ACTIONS),
    ("Pages", PAGES),
    ("The view", VIEWS),
    ("Moving about", MOVES),
    ("Marks", MARKS),
    ("The log, after Tab", LOG),
)
