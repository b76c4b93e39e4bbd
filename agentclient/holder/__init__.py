"""The dead man's switch: a small process that thaws when the console can't (P4, protocol §8).

The console starts it before its first freeze, and hands it the connection to each guest that is to
be frozen. From then on the holder owns that conversation, and the console talks through it. When
the console dies, or is stopped beyond a hold's end, the holder takes over: it refuses the console,
waits for a freeze that is still pending, thaws, checks, and stays until nothing is left to do.

``messages`` is what the two tell each other, ``client`` the console's side; ``ward`` is one guest
in the holder's care, ``relay`` passes its bytes on, ``main`` is the process. The holder imports
the standard library and the pure machines alone, so that it starts quickly and stays small.
"""
