"""Freezes, thaws, rescues and groups, in threads."""
