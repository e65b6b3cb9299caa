"""Tables and a picture of what `versus` has measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log10
from statistics import median
from typing import Any

Result = dict[str, Any]

LOADS = ("warm", 1), ("warm", 32), ("young", 32)
COLOURS = {"chordtwist": "#2b6cb0", "chordtwist-tls": "#90cdf4", "kademlia": "#c53030", "opendht": "#555555"}
WIDTH, HEIGHT, LEFT, TOP, PANEL, GAP = 900, 380, 60, 40, 340, 90


def medians(results: Iterable[Result]) -> dict[tuple[int, str], Result]:
    """Of each figure the median over all passes, by nodes and system; counts of what went wrong are summed up."""
    groups: dict[tuple[int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result["nodes"], result["system"]), []).append(result)
    found = {}
    for ring, passes in groups.items():
        names = {name: None for one in passes for name, value in one.items() if isinstance(value, int | float)}
        found[ring] = {
            name: (sum if name.endswith(("_missing", "_failed", "_wrong", "_count")) else median)(
                [one[name] for one in passes if name in one]
            )
            for name in names
        }
    return found


def tables(results: Sequence[Result]) -> str:
    """Write tables of reStructuredText, which can be read as they are."""
    rings = medians(results)
    parts = []
    for state, in_flight in LOADS:
        head = ["system", "nodes"]
        head += ["puts/s", "gets/s", "put ms, half", "99 %", "get ms, half", "99 %", "CPU ms/put", "/get"]
        head += ["bytes/put", "/get", "right %", "not there"]
        rows = [
            [system, str(nodes), *_row(ring, f"{state}_put_{in_flight}", f"{state}_get_{in_flight}")]
            for (nodes, system), ring in sorted(rings.items(), key=_order)
        ]
        parts += [f"**{state.capitalize()} ring, {in_flight} in flight**", _table(head, rows)]
    head = ["system", "nodes", "members after s", "right after s", "CPU ms a node", "KiB a node", "KiB used"]
    head += ["idle CPU %", "idle bytes/s"]
    figures = ("form_s", "right_s", "form_cpu_ms", "formed_kib", "used_kib", "idle_cpu_percent", "idle_bytes_per_s")
    rows = [
        [system, str(nodes), *(_written(ring.get(figure)) for figure in figures)]
        for (nodes, system), ring in sorted(rings.items(), key=_order)
    ]
    parts += ["**Forming, memory, and a ring at rest**", _table(head, rows)]
    return "\n\n".join(parts)


def _order(ring: tuple[tuple[int, str], Result]) -> tuple[int, int]:
    nodes, system = ring[0]
    return nodes, list(COLOURS).index(system)


def _row(ring: Result, put: str, get: str) -> list[str]:
    figures = [f"{put}_per_s", f"{get}_per_s", f"{put}_p50_ms", f"{put}_p99_ms", f"{get}_p50_ms", f"{get}_p99_ms"]
    figures += [f"{put}_cpu_ms", f"{get}_cpu_ms", f"{put}_bytes", f"{get}_bytes"]
    asked = ring[f"{put}_count"] + ring[f"{get}_count"]
    bad = sum(ring[f"{name}_{what}"] for name in (put, get) for what in ("missing", "failed", "wrong"))
    right = f"{100 * (1 - bad / asked):.2f}".rstrip("0").rstrip(".")
    return [*(_written(ring[figure]) for figure in figures), right, str(ring[f"{get}_missing"])]


def _written(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def plot(results: Sequence[Result]) -> str:
    """Draw the rates of a warm ring with 32 in flight against the number of nodes, both on logarithmic axes."""
    rings = medians(results)
    sizes = sorted({nodes for nodes, _ in rings})
    most = max(10.0, *(ring[f"warm_{what}_32_per_s"] for ring in rings.values() for what in ("put", "get")))
    decades = range(int(log10(most)) + 2)
    high = HEIGHT - TOP - 60
    parts = []

    def y(rate: float) -> float:
        return TOP + high * (1 - log10(max(1.0, rate)) / decades[-1])

    for number, what in enumerate(("put", "get")):
        left = LEFT + number * (PANEL + GAP)

        def x(nodes: int, left: int = left) -> float:
            span = log10(sizes[-1] / sizes[0]) or 1.0
            return left + 15 + (PANEL - 30) * log10(nodes / sizes[0]) / span

        parts.append(f'<rect x="{left}" y="{TOP}" width="{PANEL}" height="{high}" fill="#f7f7f7"/>')
        parts.append(f'<text x="{left}" y="{TOP - 10}">{what}s a second, warm, 32 in flight</text>')
        for decade in decades:
            at = y(10**decade)
            parts.append(f'<line x1="{left}" x2="{left + PANEL}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{10**decade:,}</text>')
        for nodes in sizes:
            parts.append(f'<text x="{x(nodes):.1f}" y="{TOP + high + 18}" text-anchor="middle">{nodes:,}</text>')
        for system, colour in COLOURS.items():
            points = [
                f"{x(nodes):.1f},{y(rings[nodes, system][f'warm_{what}_32_per_s']):.1f}"
                for nodes in sizes
                if (nodes, system) in rings
            ]
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>')
            for point in points:
                across, down = point.split(",")
                parts.append(f'<circle cx="{across}" cy="{down}" r="3" fill="{colour}"/>')
    for number, (system, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{LEFT + 140 * number}" y="{HEIGHT - 12}" fill="{colour}">{system}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )
