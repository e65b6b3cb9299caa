"""How much each address may leave here: bytes and records, charged to whoever delivers them.

Not to the publisher a record names: anybody can name anybody, and a hand-over would be charged to a victim. Whoever
carries a record on names the address that delivered it, which has a second account for that: so much may be brought
here for it by others. Else an address that leaves its share with each of eight members would have all of it brought
to one owner. A carrier that lies gains nothing, since it pays itself too, and takes no room from those it names.
"""

from __future__ import annotations

from dataclasses import dataclass

RECORD_OVERHEAD_BYTES = 256
"""What a record costs besides its value, so that a million empty ones are not free."""


STRANGERS_SHARE = 0.125
"""Of the quota, for whoever is no neighbour on the ring that we have dialled: 64 MiB of 512. Neighbours bring whole
arcs when they repair a node; those who pass by with a put or a thousand need no more, and it takes sixteen addresses to
fill a node instead of two."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one delivering address may have here at one time."""

    records_max: int = 500_000
    """Half of what a node keeps: a neighbour that repairs us delivers a whole arc, a stranger never fills all."""

    bytes_max: int = 1 << 29
    """512 MiB, with `RECORD_OVERHEAD_BYTES` for each: half of what a node keeps by default."""


class Ledger:
    """Who delivered what is kept, asked or unasked. What was here before a restart is charged to nobody."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._charged: dict[bytes, tuple[str, int]] = {}
        self._totals: dict[str, tuple[int, int]] = {}

    def has_room(self, host: str, key: bytes, value_bytes: int, share: float = 1.0) -> bool:
        """Whether `host` may deliver a value of so many bytes under `key`, in place of what is there, when so much of
        the quota is its.
        """
        records, size = self._totals.get(host, (0, 0))
        charged = self._charged.get(key)
        if charged is not None and charged[0] == host:
            records -= 1
            size -= charged[1]
        size += value_bytes + RECORD_OVERHEAD_BYTES
        return records < self._quota.records_max * share and size <= self._quota.bytes_max * share

    def payer(self, key: bytes) -> str | None:
        """Whoever is charged for what is kept under `key`."""
        charged = self._charged.get(key)
        return None if charged is None else charged[0]

    def charge(self, host: str | None, key: bytes, value_bytes: int) -> None:
        """`host` delivered what is now kept under `key`; None: nobody is charged for it."""
        self.release(key)
        if host is None:
            return
        size = value_bytes + RECORD_OVERHEAD_BYTES
        records, total = self._totals.get(host, (0, 0))
        self._totals[host] = (records + 1, total + size)
        self._charged[key] = (host, size)

    def release(self, key: bytes) -> None:
        """Charge nobody any more for what was kept under `key`."""
        charged = self._charged.pop(key, None)
        if charged is None:
            return
        host, size = charged
        records, total = self._totals[host]
        if records == 1:
            del self._totals[host]
        else:
            self._totals[host] = (records - 1, total - size)
