"""What questions cost a simulated node: a price list, in place of the processor time that a real one measures."""

from __future__ import annotations

from chordtwist.wire.peer_messages import (
    Announce,
    Digest,
    HandOver,
    HaveList,
    JoinRequest,
    Question,
    Store,
    StoreAll,
)

SHORT_S = 0.00005
"""A short question, answered from memory."""

RECORD_S = 0.0001
"""A record that has to be verified and kept."""

PRICES_S: dict[type[Question], float] = {
    JoinRequest: 0.004,
    Announce: 0.004,
    Store: RECORD_S,
    Digest: 0.002,
    HaveList: 0.003,
    HandOver: 0.01,
}
"""Those that cost more: what a real node measures at most, on a machine of two slow processors."""


def price_s(question: Question) -> float:
    """Look up the processor seconds that a question costs."""
    price = PRICES_S.get(type(question), SHORT_S)
    return price + RECORD_S * len(question.records) if isinstance(question, StoreAll) else price
