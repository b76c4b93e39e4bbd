"""The console's colours: few, and each with one meaning; on any of them the words say it too."""

from __future__ import annotations

from textual.theme import Theme

# Chosen so that the tones keep their order of brightness in greyscale, and stay apart in the
# eight and the sixteen colours of a plain terminal.
THEME = Theme(
    name="frostwatch",
    primary="#6cb6ff",
    secondary="#3d5a73",
    accent="#8be9fd",
    foreground="#d7dee6",
    background="#0d1217",
    surface="#141b22",
    panel="#24303b",
    success="#52e07c",
    warning="#ffc857",
    error="#ff7b72",
    dark=True,
    variables={
        "tone-dim": "#8a97a5",
        "tone-head": "#ffffff",
        "tone-good": "#52e07c",
        "tone-active": "#6cb6ff",
        "tone-frozen": "#a5f3fc",
        "tone-warn": "#ffc857",
        "tone-bad": "#ff7b72",
        "cursor": "#1f4468",
        "cursor-blurred": "#22303d",
        "scrollbar": "#3d5a73",
        "scrollbar-hover": "#6cb6ff",
        "scrollbar-active": "#6cb6ff",
        "scrollbar-background": "#141b22",
        "scrollbar-background-hover": "#141b22",
        "scrollbar-background-active": "#141b22",
        "scrollbar-corner-color": "#141b22",
        "footer-background": "#24303b",
        "footer-key-foreground": "#ffc857",
        "footer-description-foreground": "#d7dee6",
    },
)
