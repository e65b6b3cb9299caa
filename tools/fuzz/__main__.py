"""``python -m tools.fuzz``: searches all targets, or those named, for inputs that break them; one JSON object each.

First the seeds and every input that once broke a target, then growing inputs, whose time per byte must not grow, then
atheris for its share of the time. Exit status 1 when anything was found; the input is kept and named.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, thread_time

from tests.fuzz_targets import FOUND, TARGETS, Target

BROKE = Path("var/fuzz")
"""Where a search leaves what breaks a target now."""

RSS_MIB_MAX = 512
"""Memory of one search, the interpreter and libFuzzer's own corpus included (about 150 MiB)."""

INPUT_BYTES_MAX = 1024
"""Room for a dozen messages; how parsers fare with long ones is looked at by `growth`."""

GROWING_BYTES = (1 << 15, 1 << 18)
GROWTH_MAX = 3.0
"""How much more time a byte may take in the longer of two inputs of one form: linear is 1, quadratic 8."""

TRIES = 3
SHORT_S_MIN = 0.000_5
"""Less than this cannot be measured; the shorter input is taken to need so long."""


def replayed(target: Target) -> int:
    """Feed what is known; answers how many inputs that was."""
    known = [*target.seeds(), *(path.read_bytes() for path in sorted((FOUND / target.name).glob("*")))]
    for raw in known:
        target.feed(raw)
    return len(known)


def growth(target: Target) -> float:
    """The worst ratio of time per byte between a long input and a short one of the same form.

    A ratio beyond the bound is measured again, three times, and the least of all counts: the machine has other work.
    """
    worst = 0.0
    for seed in target.seeds():
        ratio = _ratio(target, seed)
        for _ in range(TRIES):
            if ratio <= GROWTH_MAX:
                break
            ratio = min(ratio, _ratio(target, seed))
        worst = max(worst, ratio)
    return worst


def _ratio(target: Target, seed: bytes) -> float:
    # The first byte chooses a kind or the size of pieces; what follows is repeated.
    first, rest = seed[:1], seed[1:] or b"\0"
    per_byte = []
    for length in GROWING_BYTES:
        raw = first + (rest * (length // len(rest) + 1))[:length]
        began_s = thread_time()
        target.feed(raw)
        took_s = thread_time() - began_s
        per_byte.append(max(took_s, SHORT_S_MIN if length == GROWING_BYTES[0] else 0.0) / length)
    return per_byte[1] / per_byte[0]


def searched(target: Target, seconds: float, inputs: int, folder: Path) -> dict[str, object]:
    """Let atheris search; what it found is in `folder`."""
    corpus = folder / target.name
    corpus.mkdir()
    for index, seed in enumerate(target.seeds()):
        (corpus / f"seed-{index:03}").write_bytes(seed)
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-rss_limit_mb={RSS_MIB_MAX}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={BROKE}/{target.name}-",
        "-print_final_stats=1",
        "-timeout=20",
        *([f"-runs={inputs}"] if inputs else []),
    ]
    search = subprocess.run(
        [sys.executable, "-m", "tools.fuzz.search", target.name, *options, str(corpus)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    said = search.stdout.decode(errors="replace")
    figures: dict[str, object] = {
        "inputs": int(_last(r"stat::number_of_executed_units: (\d+)", said)),
        "rss_mib": int(_last(r"stat::peak_rss_mb:\s+(\d+)", said)),
        "covered": int(_last(r"cov: (\d+)", said)),
    }
    if search.returncode != 0:
        print(said[-4000:], file=sys.stderr)
        figures["found"] = _last(r"Test unit written to (\S+)", said)
    return figures


def _last(pattern: str, text: str) -> str:
    found: list[str] = re.findall(pattern, text)
    return found[-1] if found else "0"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together (default 60)")
    parser.add_argument("--inputs", type=int, default=0, help="for each target at most (default: as many as fit)")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="default: all")
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    BROKE.mkdir(parents=True, exist_ok=True)
    has_failed = False
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for name in names:
            target = TARGETS[name]
            began_s = monotonic()
            figures: dict[str, object] = {"target": name, "known": replayed(target), "growth": round(growth(target), 2)}
            figures.update(searched(target, asked.seconds / len(names), asked.inputs, Path(folder)))
            figures["seconds"] = round(monotonic() - began_s, 1)
            has_failed |= "found" in figures or growth_is_bad(figures)
            print(json.dumps(figures), flush=True)
    return 1 if has_failed else 0


def growth_is_bad(figures: dict[str, object]) -> bool:
    """Whether time grew faster than the input."""
    growth = figures["growth"]
    return isinstance(growth, float) and growth > GROWTH_MAX


if __name__ == "__main__":
    sys.exit(main())
