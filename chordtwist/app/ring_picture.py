"""The ring as a picture: every member at its place on the circle, its arc as wide as its share. SVG without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import cos, pi, sin
from typing import Any

from chordtwist.core.counted import counted

SIDE = 640
RADIUS = 220
NAMED_MAX = 64
"""In a larger ring no member has its address beside it; the title of its dot has it all the same."""

_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#222}.arc{fill:none;stroke-width:10}.even{stroke:#4c78a8}"
    ".odd{stroke:#9ecae9}.member{fill:#222}.silent{fill:#d62728}.title{font-size:15px;font-weight:600}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.member{fill:#ddd}svg{background:#111}}"
)


def picture(ring: Mapping[str, Any]) -> str:
    """Draw a walk of the ring, the fields of `Inspection.ring`; what peers say stands in it escaped."""
    members: Sequence[Mapping[str, Any]] = ring["members"]
    count, silent = len(members), len(ring["silent"])
    words = counted(count, "member") + (f", {silent} silent" if silent else "")
    shapes = [f'<text class="title" x="{SIDE / 2}" y="{SIDE / 2}" text-anchor="middle">{words}</text>']
    state = "one ring" if ring["closes"] and not ring["faults"] else "not one ring at the moment"
    shapes.append(f'<text x="{SIDE / 2}" y="{SIDE / 2 + 20}" text-anchor="middle">{state}</text>')
    for index, member in enumerate(members):
        turn = int(member["id"], 16) / (1 << 256)
        shapes.append(_arc(turn - member["share"], turn, "even" if index % 2 else "odd"))
    shapes += [_member(member, count <= NAMED_MAX) for member in members]
    return framed(f"A Chord ring: {words}", shapes, _STYLE)


def framed(title: str, shapes: Sequence[str], style: str) -> str:
    """Make a whole picture of shapes; a screen reader says its title."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {SIDE} {SIDE}" role="img">'
        f"<title>{title}</title><style>{style}</style>{''.join(shapes)}</svg>\n"
    )


def at(turn: float, radius: float) -> tuple[float, float]:
    """Find where a place is drawn: 0 at the top, growing clockwise to 1."""
    angle = 2 * pi * turn - pi / 2
    return SIDE / 2 + radius * cos(angle), SIDE / 2 + radius * sin(angle)


def _arc(begin: float, end: float, kind: str) -> str:
    if end - begin >= 1:
        return f'<circle class="arc {kind}" cx="{SIDE / 2}" cy="{SIDE / 2}" r="{RADIUS}"/>'
    (x0, y0), (x1, y1) = at(begin, RADIUS), at(end, RADIUS)
    large = int(end - begin > 0.5)
    return f'<path class="arc {kind}" d="M{x0:.1f} {y0:.1f}A{RADIUS} {RADIUS} 0 {large} 1 {x1:.1f} {y1:.1f}"/>'


def _member(member: Mapping[str, Any], is_named: bool) -> str:
    turn = int(member["id"], 16) / (1 << 256)
    x, y = at(turn, RADIUS)
    address = escape(str(member["address"]))
    dot = (
        f'<circle class="member" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{address}: {member["share"]:.1%} of the'
        f" circle</title></circle>"
    )
    if not is_named:
        return dot
    x, y = at(turn, RADIUS + 14)
    anchor = "start" if x >= SIDE / 2 else "end"
    return f'{dot}<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{address}</text>'
