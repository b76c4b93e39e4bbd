"""The journal's file, and the process that alone reads and writes it."""
