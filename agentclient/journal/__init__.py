"""What happened to which guest, when, and by whom: kept in a file, and looked at after a crash.

A window is one freeze or one thaw. It stands in the file from before anything is sent until its
end, so that one which a kill has left open is found by the next run. Consoles, commands and
holders write to the same file at once.

`writer` is the journal as everybody else sees it: one thread that writes, and callers that never
wait for a disk. `store` is the file; `rows` what is written, `entry` one window while it runs,
`history` and `figures` what is read, `left` what a dead process has left. Losing the file costs
the history and nothing else: no exception leaves this package.
"""
