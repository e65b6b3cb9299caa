"""A picture of runs under attack: right lookups, and questions, against the share of the nodes that lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from chordtwist.simulation.byzantine import Figures
from chordtwist.simulation.report import escaped
from chordtwist.simulation.run import Options
from chordtwist.simulation.shares import Share, interval


class Mark(NamedTuple):
    """A figure that others have published: the share that lies, and the share of right lookups, lowest and highest."""

    share: float
    low: float
    high: float
    whose: str


HALO = "Halo (Kapadia, Triandopoulos, NDSS 2008)"
PUBLISHED = (
    Mark(0.12, 0.99, 0.99, HALO),
    Mark(0.22, 0.99, 0.99, f"{HALO}, recursive"),
    Mark(0.12, 0.40, 0.50, "Chord, by Halo's paper"),
    Mark(0.22, 0.20, 0.30, "Chord, by Halo's paper"),
)
"""From the abstract of that paper."""

PROVED_BELOW = 0.25
"""S-Chord (Fiat, Saia, Young, ESA 2005): right with high probability below this share; there is no measured figure."""

PICTURE_WIDTH, PICTURE_HEIGHT, MARGIN_LEFT, MARGIN_TOP, LEGEND_WIDTH = 900, 640, 70, 60, 250
LOOKUPS_PX, QUESTIONS_PX, PANEL_GAP = 330, 130, 60
OURS, PLAIN, OTHERS = "#2b6cb0", "#c53030", "#555555"


class Panel:
    """One pair of axes; x is a share of liars, from 0 to `share_max`."""

    def __init__(self, top: int, high: int, most: float, share_max: float) -> None:
        self.parts: list[str] = []
        self._top, self._high, self._most, self._share_max = top, high, most, share_max

    def x(self, share: float) -> float:
        return MARGIN_LEFT + (PICTURE_WIDTH - MARGIN_LEFT - LEGEND_WIDTH) * share / self._share_max

    def y(self, value: float) -> float:
        return self._top + self._high * (1 - value / self._most)

    def axes(self, title: str, ticks: Sequence[float], name: Callable[[float], str]) -> None:
        wide = PICTURE_WIDTH - MARGIN_LEFT - LEGEND_WIDTH
        self.parts += [
            f'<rect x="{MARGIN_LEFT}" y="{self._top}" width="{wide}" height="{self._high}" fill="#f7f7f7"/>',
            f'<text x="{MARGIN_LEFT}" y="{self._top - 10}">{title}</text>',
        ]
        for tick in ticks:
            y = self.y(tick)
            self.parts += [
                f'<line x1="{MARGIN_LEFT}" x2="{MARGIN_LEFT + wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>',
                f'<text x="{MARGIN_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name(tick)}</text>',
            ]

    def line(self, points: Sequence[tuple[float, float]], colour: str) -> None:
        path = " ".join(f"{self.x(share):.1f},{self.y(value):.1f}" for share, value in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        self.parts += [
            f'<circle cx="{self.x(share):.1f}" cy="{self.y(value):.1f}" r="3" fill="{colour}"/>'
            for share, value in points
        ]

    def bar(self, share: float, low: float, high: float, colour: str, what: str = "") -> None:
        """Draw an interval; `what` is shown to whoever points at it."""
        x, bottom, top = self.x(share), self.y(low), self.y(high)
        path = f"M{x - 4:.1f},{top:.1f}h8M{x - 4:.1f},{bottom:.1f}h8M{x:.1f},{bottom:.1f}V{top:.1f}"
        self.parts.append(f'<path d="{path}" stroke="{colour}" fill="none"><title>{escaped(what)}</title></path>')

    def upright(self, share: float, colour: str) -> None:
        """Draw a dashed line at a share."""
        x = f"{self.x(share):.1f}"
        self.parts.append(
            f'<line x1="{x}" x2="{x}" y1="{self._top}" y2="{self._top + self._high}" stroke="{colour}" '
            'stroke-dasharray="4 4"/>'
        )


def plot(runs: Sequence[tuple[Options, Figures]]) -> str:
    """Draw what lookups came to in runs with several shares of liars, plain Chord beside them, and published marks."""
    measured = sorted(((options.byzantine, figures) for options, figures in runs), key=lambda pair: pair[0])
    share_max = max(0.5, *(share for share, _ in measured))
    right = Panel(MARGIN_TOP, LOOKUPS_PX, 1.0, share_max)
    right.axes("right lookups", (0, 0.25, 0.5, 0.75, 1), lambda tick: f"{100 * tick:.0f} %")
    for name, colour in (("lookups", OURS), ("plain_chord", PLAIN)):
        shares: list[tuple[float, Share]] = [(share, getattr(figures, name)) for share, figures in measured]
        right.line([(share, counted.right / max(1, counted.of)) for share, counted in shares], colour)
        for share, counted in shares:
            right.bar(share, *interval(counted.right, counted.of), colour)
    for mark in PUBLISHED:
        right.bar(mark.share, mark.low, mark.high, OTHERS, mark.whose)
    right.upright(PROVED_BELOW, OTHERS)
    most = max(10.0, *(_questions(figures) for _, figures in measured))
    asked = Panel(MARGIN_TOP + LOOKUPS_PX + PANEL_GAP, QUESTIONS_PX, most, share_max)
    asked.axes("questions of a lookup", (0, most), lambda tick: f"{tick:.0f}")
    asked.line([(share, _questions(figures)) for share, figures in measured], OURS)
    asked.line(
        [(share, figures.plain_chord_questions / max(1, figures.plain_chord.of)) for share, figures in measured], PLAIN
    )
    foot = MARGIN_TOP + LOOKUPS_PX + PANEL_GAP + QUESTIONS_PX
    ticks = [
        f'<text x="{asked.x(n / 10):.1f}" y="{foot + 18}" text-anchor="middle">{10 * n} %</text>'
        for n in range(int(10 * share_max) + 1)
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PICTURE_WIDTH} {PICTURE_HEIGHT}" '
            f'width="{PICTURE_WIDTH}" height="{PICTURE_HEIGHT}" '
            'font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{PICTURE_WIDTH}" height="{PICTURE_HEIGHT}" fill="white"/>',
            f'<text x="{MARGIN_LEFT}" y="24" font-size="13">{escaped(_title(runs[0][0]))}</text>',
            *right.parts,
            *asked.parts,
            *ticks,
            f'<text x="{MARGIN_LEFT}" y="{foot + 38}">share of the nodes that lie</text>',
            *_legend(),
            "</svg>\n",
        ]
    )


def _questions(figures: Figures) -> float:
    return figures.questions / max(1, figures.lookups.of)


def _title(options: Options) -> str:
    return f"{options.nodes} nodes, {options.attack}, {options.how}; intervals of 95 %"


def _legend() -> list[str]:
    lines = (
        (OURS, "our lookup"),
        (PLAIN, "the lookup of the Chord paper,"),
        (PLAIN, "over the same ring and tables"),
        (OTHERS, "published, in rings of their own:"),
        (OTHERS, "Halo, 12 and 22 %: 99 %; Chord"),
        (OTHERS, "there: 40 to 50, 20 to 30 %"),
        (OTHERS, "(Kapadia and Triandopoulos,"),
        (OTHERS, "NDSS 2008, abstract)"),
        (OTHERS, "dashed: below it S-Chord is proved"),
        (OTHERS, "(Fiat, Saia, Young, ESA 2005)"),
    )
    left = PICTURE_WIDTH - LEGEND_WIDTH + 16
    return [
        f'<text x="{left}" y="{MARGIN_TOP + 14 + 18 * n}" fill="{colour}">{escaped(text)}</text>'
        for n, (colour, text) in enumerate(lines)
    ]
