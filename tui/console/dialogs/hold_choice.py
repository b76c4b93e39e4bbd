"""How long a window is held: chosen from a few, or typed."""

from __future__ import annotations

from agentclient.model.durations import in_words

PRESETS_S = (0, 5, 10, 30, 60)


class HoldChoice:
    """A hold that is being chosen: steps through presets, or takes digits as they are typed.

    Args:
        maximum_s: it never is longer.
        seconds: what it is at first; whole seconds, as all of them.
    """

    def __init__(self, maximum_s: float, seconds: float = 0) -> None:
        self.maximum_s = int(maximum_s)
        self.seconds = min(int(seconds), self.maximum_s)
        self._typed = False

    def step(self, direction: int) -> None:
        """Go to the next preset, upwards (1) or downwards (-1)."""
        presets = sorted({each for each in PRESETS_S if each < self.maximum_s} | {self.maximum_s})
        if direction > 0:
            beyond = [each for each in presets if each > self.seconds]
            self.seconds = beyond[0] if beyond else self.maximum_s
        else:
            below = [each for each in presets if each < self.seconds]
            self.seconds = below[-1] if below else 0
        self._typed = False

    def type_digit(self, digit: int) -> None:
        """Take a digit behind those that were typed before it."""
        grown = self.seconds * 10 + digit if self._typed else digit
        self.seconds = min(grown, self.maximum_s)
        self._typed = True

    def erase(self) -> None:
        """Take the last digit away."""
        self.seconds //= 10
        self._typed = True

    @property
    def meaning(self) -> str:
        """What this hold means, as a clause."""
        if self.seconds == 0:
            return "certify and thaw at once"
        return f"held for {in_words(self.seconds)}, then thawed on its own"
