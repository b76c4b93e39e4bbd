"""The console's keys; each has an id by which it can be bound anew, and a line in the help."""

from __future__ import annotations

from textual.binding import Binding, BindingType

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
        "Stop",
        show=False,
        priority=True,
        id="stop.console",
        tooltip="Stop the console, as a shell's fg lets it go on",
    ),
]

# The keys below are a widget's own: they mean this while it has the focus.

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

HELP = (
    ("Guests", ACTIONS),
    ("The view", VIEWS),
    ("Moving about", MOVES),
    ("Marks", MARKS),
    ("The log, after Tab", LOG),
)
