"""When a silent peer is dead: the one rule of death that every step of the ring uses."""

from __future__ import annotations

from dataclasses import dataclass

from chordtwist.core.bounded import Bounded
from chordtwist.core.peer import Peer
from chordtwist.core.ring import RingId

TRIES_MIN = 3
"""Questions that must have gone unanswered; one may be lost, two may meet a pause."""

HEARD_MAX = 4096
"""Peers whose last answer is remembered; those not heard of for the longest are forgotten, which only makes a verdict
later.
"""

SILENCE_KEPT_S = 600.0
"""Who has not been heard of, or asked in vain, for so long is forgotten, with the same effect: in a ring whose members
come and go for days most of those that a node ever met are gone for good."""

SWEEP_MIN = 64
"""Fewer that were heard of are not looked through for those to be forgotten."""

SILENT_PEERS_MAX = 4096
"""Peers that owe us an answer; the one that was not asked for the longest is forgotten first, with the same effect."""


@dataclass(slots=True)
class _Silence:
    since: float
    """In time that counts."""
    asked: float
    """When the last question went unanswered."""
    tries: int = 0
    others_silent: bool = False


class Liveness:
    """What one node knows of its peers' lives.

    A peer is dead when all of this holds:

    - no answer of any kind for `dead_after_s`, counted from its last answer, or from our first question;
    - at least `TRIES_MIN` questions unanswered since then;
    - others could not reach it either, where there were others to ask.

    Time by which this process was itself late does not count: it doubts itself first (Lifeguard, arXiv 1707.00788).
    """

    def __init__(self, dead_after_s: float) -> None:
        self.dead_after_s = dead_after_s
        self._heard: dict[Peer, float] = {}
        """When each last answered, in time that counts: without that by which we were late."""
        self._sweep_at = SWEEP_MIN
        self._silent: Bounded[Peer, _Silence] = Bounded(SILENT_PEERS_MAX)
        """In the order in which they were last asked."""
        self._condemned: dict[RingId, Peer | None] = {}
        """Places, each with whom else was met there before."""
        self.excused_s = 0.0
        """By how much this process was late so far."""

    def answered(self, peer: Peer, now: float) -> None:
        """`peer` answered something."""
        heard = self._heard
        heard[peer] = now - self.excused_s
        if len(heard) > HEARD_MAX:
            # Half of them at once: to keep them in order all the time would cost more than everything else here.
            latest = sorted(heard, key=heard.__getitem__)[HEARD_MAX // 2 :]
            self._heard = {peer: heard[peer] for peer in latest}
        if self._silent:
            self._silent.pop(peer, None)

    def unanswered(self, peer: Peer, now: float) -> None:
        """Note that a question to `peer` went unanswered, or could not be put."""
        counted = now - self.excused_s
        silence = self._silent.get(peer)
        if silence is None:
            heard = self._heard.get(peer, counted)
            silence = _Silence(heard if heard >= counted - SILENCE_KEPT_S else counted, counted)
        silence.asked = counted
        silence.tries += 1
        self._silent[peer] = silence
        self._forget_before(counted - SILENCE_KEPT_S)

    def others_tried(self, peer: Peer) -> None:
        """Others could not reach `peer` either, or there are no others."""
        if peer in self._silent:
            self._silent[peer].others_silent = True

    def condemn(self, peer: Peer, but: Peer | None = None) -> None:
        """Take a peer for dead, whatever it answers, since it is convicted, and whoever comes to its place after it.

        @param but: who was met in that place beside it, on another port: it is judged by its answers, as ever.
        """
        self._condemned[peer.id] = but

    def acquit(self, peer: Peer) -> None:
        """Judge a peer, and its place, by what is answered there again."""
        self._condemned.pop(peer.id, None)

    def is_condemned(self, peer: Peer) -> bool:
        """Whether a peer counts as dead since its place is convicted."""
        return peer.id in self._condemned and self._condemned[peer.id] != peer

    def excuse(self, late_s: float) -> None:
        """Excuse everybody for the time by which this process was late: nobody's silence during it counts."""
        self.excused_s += late_s

    def is_silent(self, peer: Peer) -> bool:
        """Whether its last question went unanswered."""
        return peer in self._silent or self.is_condemned(peer)

    def is_dead(self, peer: Peer, now: float) -> bool:
        """Judge whether a peer is dead. That holds until it answers again, or has not been asked for long."""
        if self.is_condemned(peer):
            return True
        silence = self._silent.get(peer)
        if silence is None or silence.tries < TRIES_MIN or not silence.others_silent:
            return False
        return now - self.excused_s - silence.since >= self.dead_after_s

    def _forget_before(self, counted: float) -> None:
        while self._silent and self._silent[oldest := next(iter(self._silent))].asked < counted:
            del self._silent[oldest]
        if len(self._heard) >= self._sweep_at:
            self._heard = {peer: at for peer, at in self._heard.items() if at >= counted}
            self._sweep_at = max(SWEEP_MIN, 2 * len(self._heard))
