"""Copies under a freeze: prepare, freeze, start, thaw, follow, finish."""
