"""The journal's file, in the one process that touches its disk."""
