"""Everything about guests, agents, freezes and hypervisors: blocking, typed, thread-safe.

Usable alone from a script or a REPL; it knows nothing of the console (`tui`).
"""
