"""Rounds, sizes and seconds of a measurement: fewer in `make test` than in `make bench`."""

from __future__ import annotations

import os
from typing import TypeVar

# Set by `make bench`, for the figures.
VARIABLE = "FROSTWATCH_WHOLE_BENCHMARKS"

Amount = TypeVar("Amount", int, float)


def amount(for_figures: Amount, for_a_test: Amount) -> Amount:
    """Return how much to measure: for figures, or to notice what has become worse."""
    return for_figures if os.environ.get(VARIABLE) else for_a_test
