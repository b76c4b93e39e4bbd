"""The dead man's switch: a small process that thaws when the console can't (P4, protocol §8).

The console starts the holder before its first freeze, and hands it the connection to each guest
that is to be frozen. From then on the holder owns the connection, and relays the console's bytes.
When the console dies, or is stopped beyond a hold's end, the holder takes over: it closes the
console's end, waits for a freeze that is still pending, thaws, checks the result, and exits when no
guest is left.

A guest that is reached by calls has no connection to hand over: the holder imports what its recipe
names, reaches the guest before the freeze, and makes the console's calls.

The console's side is ``client``, ``armed_channel``, ``process``, ``standby`` and
``called_standby``. The holder's side is ``main`` (the process), ``armed_guest`` (one guest),
``stream_guest`` and ``relay`` (its connection and its bytes), ``called_guest`` (its calls) and
``records`` (the journal). Both use ``messages``. The holder imports the standard library,
``access`` and the pure machines, so that it starts quickly and stays small; a recipe's modules are
imported for its guests alone.
"""
