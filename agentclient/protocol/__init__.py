"""Sans-I/O wires: the agent's and QMP's bytes to messages and back."""
