"""``chordtwist bench``: how fast a running node answers, and whether what it says is right."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from chordtwist.app.cli import showing, talking
from chordtwist.app.cli.talking import Caller, NotReachable
from chordtwist.core.errors import ChordtwistError, NodeGone, Refused, Unreachable
from chordtwist.core.quantile import quantile
from chordtwist.net.blocking_client import BlockingClient, Deadline

LEFT_FOR_S = 120
"""What is put ends by itself soon after."""

KEYS_EACH = 100
ANSWER_S = 30.0
BAR_EVERY_S = 0.1
SLOWER_BY = 1.25
"""A median that is so many times a saved one is called slower: less is the noise of a machine."""

SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
"""Which quantiles are told, and the names that a result has for them."""


@dataclass
class Tally:
    """What one kind of operation took."""

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: int = 0

    def summary(self, seconds: float) -> dict[str, Any]:
        """Sum it up: rates, quantiles in ms, and what went right."""
        took = self.seconds
        done = len(took) + self.failed
        return {
            "done": done,
            "per_second": round(done / seconds, 1),
            **{name: round(quantile(took, share) * 1000, 3) if took else None for name, share in SHARES.items()},
            "failed": self.failed,
            "wrong": self.wrong,
        }


@click.command(
    help="""Put and get values at a running node for some seconds, and say how fast it was and whether all was right.

    Each client has a connection of its own, puts values of its own and reads them again, and waits for each answer: so
    it is the time that a program sees, and the most that this many waiting programs get through. A put is one that is
    confirmed. What it leaves ends after two minutes. --save keeps the result, --compare shows it beside an earlier one.

    \b
    Examples:
        chordtwist bench
        chordtwist bench --clients 32 --value-bytes 4096 --seconds 30
        chordtwist bench --save monday.json; chordtwist bench --compare monday.json
    """
)
@click.option("--seconds", type=click.FloatRange(0.2, 3600), default=10, show_default=True, help="How long.")
@click.option("--clients", type=click.IntRange(1, 256), default=8, show_default=True, help="Connections at once.")
@click.option("--value-bytes", type=click.IntRange(16, 65_495), default=100, show_default=True, help="Of each value.")
@click.option("--save", metavar="FILE", type=click.Path(dir_okay=False), help="Keep the result in FILE.")
@click.option(
    "--compare", metavar="FILE", type=click.File(encoding="utf-8"), help="Compare with a result kept earlier."
)
@talking.asks_a_node
def command(caller: Caller, seconds: float, clients: int, value_bytes: int, save: str | None, compare: Any) -> None:
    """Run ``chordtwist bench``."""
    earlier = None if compare is None else _earlier(compare)
    caller.talk(lambda connect: connect(member=True).close())
    result = _measured(caller, seconds, clients, value_bytes)
    if save is not None:
        Path(save).write_text(json.dumps(result, indent=1) + "\n", "ascii")
    if caller.as_json:
        talking.show_json(result)
    else:
        _show(result, earlier)
    if result["right_percent"] < 100:
        raise SystemExit(1)


def _earlier(file: Any) -> Mapping[str, Any]:
    try:
        earlier = json.load(file)
        if not all(name in earlier[kind] for kind in ("puts", "gets") for name in ("per_second", "p50_ms", "p99_ms")):
            raise ValueError
    except (ValueError, TypeError, KeyError, RecursionError):
        raise click.BadParameter(f"{file.name} is no result that --save has kept", param_hint="--compare") from None
    return dict(earlier)


def _measured(caller: Caller, seconds: float, clients: int, value_bytes: int) -> dict[str, Any]:
    puts, gets = Tally(), Tally()
    lock = threading.Lock()
    errors: list[Exception] = []
    ends_s = time.monotonic() + seconds

    def work(number: int) -> None:
        try:
            _one_client(caller, number, ends_s, value_bytes, puts, gets, lock)
        except (ChordtwistError, TimeoutError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(clients)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    _wait(threads, began_s, seconds, lambda: len(puts.seconds) + len(gets.seconds))
    took_s = time.monotonic() - began_s
    if errors:
        raise NotReachable(f"{caller.api}: {errors[0]}")
    done = len(puts.seconds) + puts.failed + len(gets.seconds)
    bad = puts.failed + gets.wrong
    return {
        "api": str(caller.api),
        "seconds": round(took_s, 2),
        "clients": clients,
        "value_bytes": value_bytes,
        "puts": puts.summary(took_s),
        "gets": gets.summary(took_s),
        "right_percent": round(100 * (done - bad) / done, 3) if done else 100.0,
    }


def _one_client(
    caller: Caller, number: int, ends_s: float, value_bytes: int, puts: Tally, gets: Tally, lock: threading.Lock
) -> None:
    deadline = Deadline(ANSWER_S)
    client = caller.door.dial(caller.api, deadline)
    chance = random.Random()
    written: dict[bytes, bytes] = {}
    run = chance.getrandbits(64)
    try:
        while time.monotonic() < ends_s:
            deadline.restart()
            if not written or chance.random() < 0.5:
                key = sha256(b"%d %d %d" % (run, number, chance.randrange(KEYS_EACH))).digest()
                _put(client, key, chance.randbytes(value_bytes), written, puts, lock)
            else:
                key = chance.choice(list(written))
                began_s = time.perf_counter()
                value = client.get(key)
                with lock:
                    gets.seconds.append(time.perf_counter() - began_s)
                    gets.wrong += value != written[key]
    finally:
        client.close()


def _put(
    client: BlockingClient, key: bytes, value: bytes, written: dict[bytes, bytes], puts: Tally, lock: threading.Lock
) -> None:
    began_s = time.perf_counter()
    try:
        client.put_confirmed(key, value, LEFT_FOR_S)
    except NodeGone:
        raise
    except (Refused, Unreachable):
        written.pop(key, None)
        with lock:
            puts.failed += 1
        return
    written[key] = value
    with lock:
        puts.seconds.append(time.perf_counter() - began_s)


def _wait(threads: list[threading.Thread], began_s: float, seconds: float, done: Any) -> None:
    """Wait for all clients, with a bar on a terminal."""
    import sys

    if not (sys.stderr is not None and sys.stderr.isatty()):
        for thread in threads:
            thread.join()
        return
    from rich.progress import BarColumn, Progress, TextColumn

    with Progress(
        BarColumn(), TextColumn("{task.fields[words]}"), console=showing.console(err=True), transient=True
    ) as bar:
        task = bar.add_task("", total=seconds, words="")
        while any(thread.is_alive() for thread in threads):
            passed_s = time.monotonic() - began_s
            words = f"{done() / max(passed_s, BAR_EVERY_S):.0f} a second"
            bar.update(task, completed=min(passed_s, seconds), words=words)
            time.sleep(BAR_EVERY_S)


def _show(result: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> None:
    rows = []
    for kind in "puts", "gets":
        rows.append(_row(kind, result[kind]))
        if earlier is not None:
            rows.append(_row("  before", earlier[kind]))
    columns = ("", "A SECOND", "MEDIAN", "P99", "P99.9", "FAILED", "WRONG")
    showing.show(showing.table(columns, rows, right=columns[1:], spare=("P99.9", "FAILED")))
    style = "green" if result["right_percent"] == 100 else "red"
    words = f"{result['right_percent']:g} % right, with {result['clients']} clients and {result['value_bytes']} bytes"
    showing.show(showing.text(words, style))
    for line in _compared(result, earlier):
        showing.show(line)


def _row(name: str, summed: Mapping[str, Any]) -> list[Any]:
    times = [showing.milliseconds(summed.get(part)) for part in ("p50_ms", "p99_ms", "p999_ms")]
    return [name, f"{summed['per_second']:g}", *times, summed.get("failed", ""), summed.get("wrong", "")]


def _compared(result: Mapping[str, Any], earlier: Mapping[str, Any] | None) -> list[Any]:
    """Say of each kind whether it got slower."""
    if earlier is None:
        return []
    lines = []
    for kind in "puts", "gets":
        now, before = result[kind]["p50_ms"], earlier[kind]["p50_ms"]
        if not now or not before:
            continue
        ratio = now / before
        if ratio > SLOWER_BY:
            lines.append(showing.text(f"{kind}: slower, {ratio:.2f} times the median of before", "red"))
        elif ratio < 1 / SLOWER_BY:
            lines.append(showing.text(f"{kind}: faster, {ratio:.2f} times the median of before", "green"))
        else:
            lines.append(showing.text(f"{kind}: as before, {ratio:.2f} times the median"))
    if any(result[name] != earlier.get(name) for name in ("clients", "value_bytes")):
        lines.append(showing.text("the two were not measured alike: clients or bytes differ", "yellow"))
    return lines
