"""What a run is told as: one JSON object, a few lines for people, a plot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chordtwist.core.counted import counted
from chordtwist.simulation.run import Run, Sample
from chordtwist.simulation.workload import Paid

DIGITS = 3


def as_json(run: Run) -> dict[str, object]:
    """Tell the figures of a run, whole or interrupted: the fields other people's scripts lean on, and what explains
    them.
    """
    world, lookups, records = run.world, run.lookups, run.records
    answered = max(1, lookups.right + lookups.explained + lookups.unreached)
    traffic = run.bytes_per_node_s()
    return {
        "nodes": run.options.nodes,
        "seed": run.options.seed,
        "scenario": run.options.scenario,
        "simulated_s": round(world.now_s, DIGITS),
        "wall_s": round(run.wall_s, DIGITS),
        "interrupted": run.interrupted,
        "trace_hash": world.trace.digest(),
        "invariants": {
            "checked": world.check.checked,
            "violated": world.check.violated + records.violated,
            "apart": {
                "bursts": world.check.bursts,
                "live_judged_dead": world.check.misjudged,
                "violated": world.check.violated_apart,
            },
        },
        "converged_s": None if run.converged_s is None else round(run.converged_s, DIGITS),
        "lookups": {
            "asked": lookups.asked,
            "right": lookups.right,
            "explained": lookups.explained,
            "unreached": lookups.unreached,
            "wrong": lookups.wrong,
            "hops_mean": round(lookups.hops / answered, DIGITS),
            "questions_mean": round(lookups.questions / answered, DIGITS),
            **{quality.name.lower(): _paid(paid) for quality, paid in lookups.paid.items()},
            "silent_mean": round(lookups.silent / answered, DIGITS),
            "took_ms_mean": round(lookups.took_us / max(1, lookups.answered) / 1000, DIGITS),
        },
        "records": {
            "stored": records.stored,
            "readable": run.readable,
            "lost": run.due - run.readable,
            "due": run.due,
            "without_living_copy": run.gone,
            "reads": records.reads,
            "reads_right": records.read_right,
            "reads_missed": records.unreadable,
            "reads_denied": records.denied,
        },
        "traffic": {
            "bytes_per_node_s": round(sum(traffic.values()), DIGITS),
            "by_part": {part: round(bytes_s, DIGITS) for part, bytes_s in traffic.items()},
        },
        "book": _book(run),
        "evictions": run.evictions.as_json(),
        "byzantine": None if run.figures is None else _attack(run) | run.figures.as_json(),
        "notes": run.notes,
        "problems": run.problems(),
    }


def as_lines(run: Run) -> str:
    """Tell the figures of a finished run in lines for people."""
    world, lookups, records, check = run.world, run.lookups, run.records, run.world.check
    lines = [
        f"{run.options.command()}",
        f"  {world.now_s:,.0f} simulated seconds in {run.wall_s:,.1f} s, {world.now_s / max(run.wall_s, 1e-9):,.0f} "
        f"times real time; trace {world.trace.digest()}",
        f"  ring: {counted(len(check.members), 'member')}, {counted(check.checked, 'step')} checked, "
        f"{counted(check.violated, 'violation')}"
        + (
            ""
            if run.assumptions_held
            else f"; assumptions broken by {check.bursts} bursts and {check.misjudged} misjudgements, "
            f"{check.violated_apart} violations after them"
        ),
        f"  converged: {'never' if run.converged_s is None else f'after {run.converged_s:.0f} s'}",
    ]
    if lookups.asked:
        lines.append(
            f"  lookups: {lookups.asked} asked, {lookups.right} right, {lookups.explained} explained by a change, "
            f"{lookups.unreached} past an owner that did not answer, {lookups.wrong} wrong; "
            f"{lookups.hops / lookups.asked:.2f} hops, "
            f"{lookups.questions / lookups.asked:.2f} questions, {lookups.took_us / lookups.asked / 1000:.0f} ms"
        )
    if records.stored:
        lines.append(
            f"  records: {records.stored} stored, {run.readable} of {run.due} read at the end, "
            f"{run.gone} without a living copy; {records.read_right} of {records.reads} reads right on the way, "
            f"{records.unreadable} found nothing"
        )
    traffic = run.bytes_per_node_s()
    parts = ", ".join(f"{part.replace('_', ' ')} {bytes_s:.0f}" for part, bytes_s in traffic.items() if bytes_s >= 1)
    lines.append(f"  traffic: {sum(traffic.values()):,.0f} bytes per node and second{parts and f': {parts}'}")
    if run.evictions.liars:
        evictions = run.evictions
        lines.append(
            f"  convictions: {len(evictions.evicted)} of {evictions.liars} liars by every honest member, "
            f"{100 * evictions.convicted_share:.1f} % of all; {len(evictions.honest_evicted)} honest nodes"
        )
    if run.interrupted:
        lines.append("  interrupted: what would have come later is missing")
    if run.figures is not None:
        for name, figure in run.figures.as_json().items():
            lines += _figure_lines(name.replace("_", " "), figure)
    lines += [f"  {name.replace('_', ' ')}: {value}" for name, value in run.notes.items()]
    for problem in run.problems():
        lines.append(f"  PROBLEM {problem}")
    return "\n".join(lines)


def _figure_lines(name: str, figure: Any) -> Iterator[str]:
    """Tell a share in a line, a number in a line, and whatever holds several of them in as many."""
    if not isinstance(figure, dict):
        yield f"  {name}: {figure}"
    elif "share" in figure:
        low, high = 100 * figure["low"], 100 * figure["high"]
        yield f"  {name}: {figure['right']} of {figure['of']}, {low:.2f} to {high:.2f} %"
    else:
        for part, value in figure.items():
            yield from _figure_lines(f"{name}, {part.replace('_', ' ')}", value)


def _book(run: Run) -> dict[str, object]:
    """Tell how large the address books of those who look up are, or of all: entries, those met, bytes."""
    world = run.world
    hosts = [world.live[peer] for peer in run.lookups.askers or world.live if peer in world.live]
    books = [host.node.tables.book for host in hosts]
    count = max(1, len(books))
    return {
        "entries_mean": round(sum(map(len, books)) / count, DIGITS),
        "met_mean": round(sum(book.met_count for book in books) / count, DIGITS),
        "bytes_max": max((book.held_bytes for book in books), default=0),
    }


def _paid(paid: Paid) -> dict[str, object]:
    questions_mean = round(paid.questions / max(1, paid.of), DIGITS)
    return {"of": paid.of, "questions_mean": questions_mean, "widened": paid.widened}


def _attack(run: Run) -> dict[str, object]:
    options = run.options
    return {"share_lying": options.byzantine, "attack": options.attack, "how": options.how, "grown": options.grown}


def failure_page(run: Run) -> str:
    """Tell what explains why a run failed: the end of its trace, and how to see it again."""
    page = run.world.check.page or run.world.trace.last_page()
    return f"{page}\n\nThe same again:\n  {run.options.command()}"


# The plot, made by hand: four strips over one axis of time need no library

WIDTH, STRIP, GAP, LEFT, TOP = 900, 110, 34, 70, 56
STRIPS = (
    ("members", "#2b6cb0", lambda sample: sample.members),
    ("wrong pointers", "#c05621", lambda sample: sample.wrong_pointers),
    ("lookups wrong, %", "#c53030", lambda sample: 100 * sample.lookups_wrong / max(1, sample.lookups)),
    ("bytes per node and second", "#2f855a", lambda sample: sample.bytes_per_node_s),
)
WATCHED_COLOUR = "#6b46c1"


def plot(run: Run) -> str:
    """Ring size, wrong pointers, lookups wrong and bytes per node over time, and what the scenario watches, as SVG."""
    samples = run.samples or [Sample(0.0, 0, 0, 0, 0, 0.0, {})]
    strips = [(title, colour, [float(value_of(sample)) for sample in samples]) for title, colour, value_of in STRIPS]
    for title in samples[-1].watched:
        strips.append((title, WATCHED_COLOUR, [sample.watched.get(title, 0.0) for sample in samples]))
    height = TOP + len(strips) * (STRIP + GAP) + 24
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escaped(run.options.command())}</text>',
    ]
    end_s = max(1.0, samples[-1].at_s)
    for number, (title, colour, values) in enumerate(strips):
        top = TOP + number * (STRIP + GAP)
        most = max(values) or 1.0
        points = " ".join(
            f"{LEFT + (WIDTH - LEFT - 20) * sample.at_s / end_s:.1f},{top + STRIP * (1 - value / most):.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        parts += [
            f'<text x="{LEFT}" y="{top - 6}">{title}</text>',
            f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - 20}" height="{STRIP}" fill="#f7f7f7"/>',
            f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{_number(most)}</text>',
            f'<text x="{LEFT - 6}" y="{top + STRIP}" text-anchor="end">0</text>',
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
        ]
    parts += [
        f'<text x="{LEFT}" y="{height - 10}">0</text>',
        f'<text x="{WIDTH - 20}" y="{height - 10}" text-anchor="end">{end_s / 60:.1f} simulated minutes</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def escaped(text: str) -> str:
    """Write text as it stands in XML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
