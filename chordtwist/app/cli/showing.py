"""How commands show what they have for people: tables, live views, and words for numbers; rich is loaded here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from chordtwist.core.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

UNLIMITED_COLUMNS = 10_000
"""Of what is read by programs: there is no edge to fold at."""


def console(err: bool = False) -> Console:
    """Make the console of standard output, or of standard error."""
    import sys

    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    width = None if stream.isatty() else UNLIMITED_COLUMNS
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def text(words: object, style: str = "") -> Text:
    """Make words ready to be shown, escaped: whatever stands in them, they steer nothing."""
    from rich.text import Text

    return Text(printable(str(words)), style=style)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = (), spare: Iterable[str] = ()
) -> Table:
    """Make a table. A cell is words, or `Text` for what has a colour.

    @param right: columns of numbers. @param spare: columns to leave out one by one where the terminal is too narrow.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    numbers = set(right)
    cells = [[cell if isinstance(cell, Text) else text("" if cell is None else cell) for cell in row] for row in rows]
    shown = _fitting(columns, cells, list(spare))
    for index in shown:
        made.add_column(columns[index], justify="right" if columns[index] in numbers else "left", overflow="fold")
    for row in cells:
        made.add_row(*[row[index] for index in shown])
    return made


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[Text]], spare: list[str]) -> list[int]:
    """Choose the columns that fit on a line, by number."""
    widths = [max([len(column), *(row[index].cell_len for row in rows)]) + 2 for index, column in enumerate(columns)]
    shown = list(range(len(columns)))
    columns_max = console().width
    while spare and sum(widths[index] for index in shown) - 2 > columns_max:
        shown.remove(list(columns).index(spare.pop(0)))
    return shown


def show(*shown: RenderableType) -> None:
    """Show one thing under another on standard output."""
    to = console()
    for one in shown:
        to.print(one, soft_wrap=isinstance(one, str))


def duration(seconds: float) -> str:
    """Put a duration in words of at most six signs: ``0.4 s``, ``12 s``, ``5 min``, ``3 h``, ``9 d``."""
    for unit, length_s, most in ("s", 1, 120), ("min", 60, 120), ("h", 3600, 48):
        if seconds < most * length_s:
            return f"{seconds / length_s:.0f} {unit}" if seconds >= 10 or length_s > 1 else f"{seconds:.1f} s"
    return f"{seconds / 86_400:.0f} d"


def milliseconds(ms: float | None) -> str:
    """Put a short time in words: ``0.42 ms``, ``17 ms``, ``1.2 s``; a dash for None."""
    if ms is None:
        return "-"
    if ms >= 1000:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2f} ms"


def size(count: int | None) -> str:
    """Put a number of bytes in words: ``12 B``, ``64.0 KiB``; a dash for None."""
    if count is None:
        return "-"
    for unit, length in ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20):
        if count < 1024 * length:
            return f"{count} B" if length == 1 else f"{count / length:.1f} {unit}"
    return f"{count / (1 << 30):.1f} GiB"
