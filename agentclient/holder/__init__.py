"""The dead man's switch: a small process that thaws when the console can't (P4, protocol §8).

The console starts the holder before its first freeze, and hands it the connection to each guest
that is to be frozen. From then on the holder owns the connection, and relays the console's bytes.
When the console dies, or is stopped beyond a hold's end, the holder takes over: it closes the
console's end, waits for a freeze that is still pending, thaws, checks the result, and exits when no
guest is left.

The console's side is ``client``, ``process`` and ``standby``. The holder's side is ``main`` (the
process), ``armed_guest`` (one guest), ``relay`` (its bytes) and ``records`` (the journal). Both use
``messages``. The holder imports the standard library, ``access`` and the pure machines, so that it
starts quickly and stays small.
"""
