"""Several pictures of the console, one after the other, as one SVG that moves by itself.

It needs no player, no script and nothing from the web: the style sheet in it shows each picture for
its time, over and over. Whoever has asked for less motion sees the last one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

_SIZE: Final = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_CAPTION_HEIGHT: Final = 52
_CAPTION_SIZE: Final = 22
_CAPTION_LOOK: Final = "fill: #d7dee6; text-anchor: middle"


class Frame(NamedTuple):
    """One picture of a session.

    Attributes:
        svg: the picture; all of a session have one size.
        seconds: how long it is shown.
        caption: what was done, or is to be seen; one line.
    """

    svg: str
    seconds: float
    caption: str


def record(frames: Sequence[Frame]) -> str:
    """Return some pictures as one that moves."""
    found = _SIZE.search(frames[0].svg)
    assert found is not None, "each is drawn by Rich"
    width, height = float(found[1]), float(found[2])
    whole = sum(one.seconds for one in frames)
    rules, pictures, began = [], [], 0.0
    for number, one in enumerate(frames):
        begin, end = (100.0 * at / whole for at in (began, began + one.seconds))
        began += one.seconds
        rules.append(_shown(number, begin, end, whole))
        caption = (
            f'<text x="{width / 2:.0f}" y="{height + 33:.0f}" class="caption">'
            f"{escape(one.caption)}</text>"
        )
        pictures.append(
            f'<g class="frame" id="f{number}">{_placed(one.svg, width, height)}{caption}</g>'
        )
    last = len(frames) - 1
    style = "\n".join(
        [
            ".frame { opacity: 0 }",
            "#f0 { opacity: 1 }",  # for what shows no pictures that move
            f".caption {{ font: {_CAPTION_SIZE}px sans-serif; {_CAPTION_LOOK} }}",
            *rules,
            "@media (prefers-reduced-motion: reduce) {",
            "  .frame { animation: none !important; opacity: 0 !important }",
            f"  #f{last} {{ opacity: 1 !important }}",
            "}",
        ]
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {height + _CAPTION_HEIGHT:.0f}" '
        'xmlns="http://www.w3.org/2000/svg">\n'
        f"<style>\n{style}\n</style>\n"
        '<rect width="100%" height="100%" rx="8" fill="#0d1217"/>\n'
        + "\n".join(pictures)
        + "\n</svg>\n"
    )


def _shown(number: int, begin: float, end: float, whole_s: float) -> str:
    """Return the rules that show a picture from one percentage of the time to another."""
    hidden, shown = "{ opacity: 0 }", "{ opacity: 1 }"
    steps = [f"{begin:.3f}%, {end:.3f}% {shown}"]
    if begin > 0:
        steps.insert(0, f"0%, {begin - 0.001:.3f}% {hidden}")
    if end < 100:
        steps.append(f"{end + 0.001:.3f}%, 100% {hidden}")
    name = f"shown{number}"
    return (
        f"@keyframes {name} {{ {' '.join(steps)} }}\n"
        f"#f{number} {{ animation: {name} {whole_s:g}s step-end infinite }}"
    )


def _placed(svg: str, width: float, height: float) -> str:
    """Return a picture as a part of another one, at its own size."""
    return svg.replace("<svg ", f'<svg width="{width:.0f}" height="{height:.0f}" ', 1).strip()
