"""Themes as Textual has them, made of plain colours."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

from tui.shared.colours import DARK, Colours

_NATIVE = "ansi-dark"  # Textual's own, for what it styles itself in a terminal's colours


def theme_of(name: str, colours: Colours) -> Theme:
    """Return a theme.

    Args:
        name: what Textual is to call it.
        colours: its colours.
    """
    one = colours
    native = one.background.startswith("ansi_")
    return Theme(
        name=name,
        primary=one.border,
        secondary=one.scrollbar,
        accent=one.frozen,
        foreground=one.foreground,
        background=one.background,
        surface=one.surface,
        panel=one.panel,
        success=one.good,
        warning=one.warn,
        error=one.bad,
        dark=native or int(one.background[1:3], 16) < 128,
        ansi=native,
        variables={
            **(BUILTIN_THEMES[_NATIVE].variables if native else {}),
            "tone-dim": one.dim,
            "tone-head": one.head,
            "tone-good": one.good,
            "tone-active": one.active,
            "tone-frozen": one.frozen,
            "tone-warn": one.warn,
            "tone-bad": one.bad,
            "cursor": one.cursor,
            "cursor-blurred": one.cursor_blurred,
            "scrollbar": one.scrollbar,
            "scrollbar-hover": one.border,
            "scrollbar-active": one.border,
            "scrollbar-background": one.surface,
            "scrollbar-background-hover": one.surface,
            "scrollbar-background-active": one.surface,
            "scrollbar-corner-color": one.surface,
            "footer-background": one.panel,
            "footer-key-foreground": one.warn,
            "footer-description-foreground": one.foreground,
        },
    )


BEGINNING = "frostwatch"  # what the theme that a console begins with is called
THEME = theme_of(BEGINNING, DARK)
