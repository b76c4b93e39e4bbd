"""A place in a queue, and when its turn is likely to come."""

from __future__ import annotations

from typing import Self


class Place(int):
    """A place in a queue, from 1; 0 for what does not wait.

    Attributes:
        begins_in_s: in how many seconds its turn is likely to come, by how long those before it
            took; None where none of them has ended yet.
    """

    begins_in_s: float | None

    def __new__(cls, number: int, begins_in_s: float | None = None) -> Self:
        """Return the place.

        Args:
            number: from 1; 0 for what does not wait.
            begins_in_s: in how many seconds its turn is likely to come; None if that isn't known.
        """
        place = super().__new__(cls, number)
        place.begins_in_s = begins_in_s
        return place


NO_PLACE = Place(0)
