"""The themes that come with the console, as plain colours: few, and each with one meaning.

On any of them the signs and words say it too. A test measures their contrasts, and what of them
people see who are colour-blind.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Colours(NamedTuple):
    """The colours of a theme, as ``#rrggbb``, or as names of the terminal's own.

    Attributes:
        foreground: what is said.
        background: the screen's.
        surface: a dialog's.
        panel: the lines around the table, and the part that has the keys.
        border: frames, and the button that is chosen.
        scrollbar: its handle.
        cursor: the line that has the cursor.
        cursor_blurred: the same while something else has the keys.
        dim: what matters least.
        head: titles.
        good: all is well.
        active: something goes on.
        frozen: a guest is frozen.
        warn: somebody should look.
        bad: somebody has to do something.
    """

    foreground: str
    background: str
    surface: str
    panel: str
    border: str
    scrollbar: str
    cursor: str
    cursor_blurred: str
    dim: str
    head: str
    good: str
    active: str
    frozen: str
    warn: str
    bad: str


TONES: Final = ("foreground", "dim", "head", "good", "active", "frozen", "warn", "bad")

DARK: Final = Colours(
    foreground="#d7dee6",
    background="#0d1217",
    surface="#141b22",
    panel="#24303b",
    border="#6cb6ff",
    scrollbar="#3d5a73",
    cursor="#1f4468",
    cursor_blurred="#22303d",
    dim="#8a97a5",
    head="#ffffff",
    good="#52e07c",
    active="#6cb6ff",
    frozen="#a5f3fc",
    warn="#ffc857",
    bad="#ff7b72",
)

_LIGHT: Final = Colours(
    foreground="#1f2933",
    background="#f7f9fb",
    surface="#eceff3",
    panel="#dfe5eb",
    border="#0b4f99",
    scrollbar="#9fb0c0",
    cursor="#cfe3fa",
    cursor_blurred="#e3e8ee",
    dim="#4d5866",
    head="#000000",
    good="#0a5c27",
    active="#0b4f99",
    frozen="#00606e",
    warn="#7a4700",
    bad="#a3180f",
)

_CONTRAST: Final = Colours(
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    border="#ffffff",
    scrollbar="#ffffff",
    cursor="#002a55",
    cursor_blurred="#222222",
    dim="#d0d0d0",
    head="#ffffff",
    good="#5dff7f",
    active="#8fccff",
    frozen="#b8fbff",
    warn="#ffe14d",
    bad="#ffaaa2",
)

# Red and green look the same: blue against yellow and orange, and much against little light.
_DEUTAN: Final = DARK._replace(
    cursor="#16324d",
    good="#2ec4b6",
    active="#5a9bff",
    frozen="#d6f3ff",
    warn="#ffe45c",
    bad="#ff8a1f",
)

# Blue and green, and yellow and white, look the same: red against turquoise.
_TRITAN: Final = DARK._replace(
    cursor="#16324d",
    good="#33d6a6",
    active="#9db8ff",
    frozen="#e2fbff",
    warn="#ffc3a0",
    bad="#ff6b7d",
)

# Nobody knows what a terminal's own colours look like: what is dim elsewhere is plain here.
_TERMINAL: Final = Colours(
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    border="ansi_blue",
    scrollbar="ansi_blue",
    cursor="ansi_default",
    cursor_blurred="ansi_default",
    dim="ansi_default",
    head="ansi_default",
    good="ansi_green",
    active="ansi_magenta",
    frozen="ansi_cyan",
    warn="ansi_yellow",
    bad="ansi_red",
)

USUAL: Final = "dark"
TERMINAL: Final = "terminal"
THEMES: Final = {
    USUAL: DARK,
    "light": _LIGHT,
    "contrast": _CONTRAST,
    "deutan": _DEUTAN,
    "tritan": _TRITAN,
    TERMINAL: _TERMINAL,
}
"""All that come with the console; ``deutan`` is for red-green blindness of either kind."""


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21, as WCAG 2 measures it.

    Args:
        one: a colour as ``#rrggbb``.
        other: another one.
    """
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    """Return how much light a colour ``#rrggbb`` is, from 0 to 1."""
    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear(value: int) -> float:
    """Return the light of one of a colour's parts, 0 to 255, from 0 to 1."""
    part = value / 255
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)
