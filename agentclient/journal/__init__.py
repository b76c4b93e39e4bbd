"""The durable history of freezes and thaws: what happened to which guest, when, and by whom.

A window is one freeze, one thaw or one rescue step. Its row is written before anything is sent to
the guest, so that the next run finds a window that a killed process left open. Consoles, commands
and holders write to the same file at the same time.

`writer` is the interface for the rest of the program: it queues what is written, so that callers do
not wait for a disk. `storage` is the process that owns the file. `rows` makes the statements that
write, `entry` records one running window, `history` and `figures` read, and `left` finds what an
ended process has left frozen. Losing the file costs only the history: no fault of it is raised.
"""
