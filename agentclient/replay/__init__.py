"""Incidents of the journal, played again: what was known of each VM, moment by moment.

`selection` finds the windows of an incident, `window_state` says what one of them tells of its VM
at a time, `incident` puts them in order, and `player` plays them into a fleet of its own on a clock
of its own. Nothing in here reaches a guest or a monitor, and the journal's file is only read.
"""
