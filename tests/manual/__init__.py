"""Writes the man pages from the commands themselves: ``make man``."""
