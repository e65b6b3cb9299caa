"""Adversaries for the simulator: nodes that run our own code and lie, alone or as one coalition.

`ATTACKS` names them; `Coalition` says who lies to whom and since when; each attack is a small class that decides what
is said instead of the truth.
"""

from __future__ import annotations

from chordtwist.simulation.adversaries.aimed import ActiveEclipse, Burst, EclipseJoiner, StayFresh, Turncoat
from chordtwist.simulation.adversaries.answers import (
    Alter,
    FalseEnded,
    Flood,
    NotMineLiar,
    Plant,
    Refuse,
    SilentNode,
    Slow,
    Stale,
    StoreThenDrop,
    Swap,
)
from chordtwist.simulation.adversaries.attack import Attack
from chordtwist.simulation.adversaries.judged import (
    EvidenceFlood,
    LeaseBreaker,
    PromiseNothing,
    ReceiptBreaker,
    Restarter,
    Slander,
)
from chordtwist.simulation.adversaries.tables import (
    Budgeted,
    ColludersOnly,
    Equivocate,
    Hide,
    InventAnew,
    InventDense,
    InventSpread,
    InventThirdParty,
    LargerRing,
)

ATTACKS: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (
        ColludersOnly,
        Budgeted,
        Hide,
        ActiveEclipse,
        EclipseJoiner,
        Turncoat,
        StayFresh,
        Burst,
        Equivocate,
        LeaseBreaker,
        PromiseNothing,
        ReceiptBreaker,
        Restarter,
        Slander,
        EvidenceFlood,
        InventDense,
        InventSpread,
        InventAnew,
        InventThirdParty,
        LargerRing,
        SilentNode,
        Slow,
        Flood,
        Refuse,
        NotMineLiar,
        Alter,
        Swap,
        Plant,
        Stale,
        FalseEnded,
        StoreThenDrop,
    )
}
