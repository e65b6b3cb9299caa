"""A state that fits: what is too long for its reader is cut where it is longest, and says so."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

STATE_BYTES_MAX = 32_768
"""Of a node's state as JSON, in a ring of any size: what a page, a scraper or a person reads each second."""

LEFT_OUT = "left_out"
"""Where a cut state says how many elements, or characters, of which field are missing."""


def fitted(state: Mapping[str, object], bytes_max: int = STATE_BYTES_MAX) -> dict[str, object]:
    """Cut `state` until it is at most `bytes_max` as JSON: of its longest field half goes, time and again.

    Of ``events`` the oldest go, of other lists and groups the last.
    """
    fits = dict(state)
    left_out: dict[str, int] = {}
    sizes = {name: len(msgspec.json.encode(value)) + len(name) + 8 for name, value in fits.items()}
    while sum(sizes.values()) > bytes_max - sum(len(name) + 16 for name in left_out):
        name = max(sizes, key=sizes.__getitem__)
        whole = fits[name]
        if not isinstance(whole, list | dict | str) or len(whole) < 2:
            break  # nothing but numbers and single names: only a bound below a kilobyte comes here
        fits[name] = _half(whole, name == "events")
        left_out[name] = left_out.get(name, 0) + len(whole) // 2
        sizes[name] = len(msgspec.json.encode(fits[name])) + len(name) + 8
    return {**fits, LEFT_OUT: left_out} if left_out else fits


def _half(whole: list[object] | dict[str, object] | str, latest: bool) -> object:
    gone = len(whole) // 2
    if isinstance(whole, dict):
        return dict(list(whole.items())[: len(whole) - gone])
    return whole[gone:] if latest else whole[: len(whole) - gone]
