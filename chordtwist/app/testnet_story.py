"""What befalls the ring of a testnet, as lines for people: that it has formed, is broken, is whole again."""

from __future__ import annotations

from chordtwist.app.testnet import Standing, Testnet


class Story:
    """Looks at a testnet again and again.

    @ivar is_one_ring: whether all that run are one ring. @ivar has_formed: whether they ever were.
    @ivar broken_s: for how long they have not been.
    """

    def __init__(self, testnet: Testnet, now_s: float) -> None:
        self.is_one_ring = False
        self.has_formed = False
        self.broken_s = 0.0
        self.disagreeing = 0
        self._testnet = testnet
        self._began_s = now_s
        self._broken_since_s = now_s

    def look(self, now_s: float) -> list[str]:
        """Look once; gives the lines that are news."""
        testnet = self._testnet
        testnet.look()
        wrong = testnet.disagreeing()
        self.disagreeing = len(wrong)
        was, self.is_one_ring = self.is_one_ring, not wrong and bool(testnet.at_work)
        if not self.is_one_ring:
            if was:
                self._broken_since_s = now_s
            self.broken_s = now_s - self._broken_since_s
            return []
        if was:
            return []
        count = len(testnet.at_work)
        self.broken_s = 0.0
        if self.has_formed:
            return [f"one ring of {count} again, after {now_s - self._broken_since_s:.1f} s"]
        self.has_formed = True
        return []

    def touched(self, now_s: float) -> None:
        """Hear that somebody has done something to the nodes: what follows is counted from now."""
        self.is_one_ring = False
        self._broken_since_s = now_s

    def in_words(self) -> str:
        """Say how the ring is."""
        places = self._testnet.places.values()
        counts = {standing: sum(place.standing is standing for place in places) for standing in Standing}
        parts = [f"{count} {standing.value.replace('runs', 'run')}" for standing, count in counts.items() if count]
        if self.is_one_ring:
            state = "one ring"
        elif self.has_formed:
            state = f"healing for {self.broken_s:.0f} s: {self.disagreeing} do not agree yet"
        else:
            state = f"forming: {self.disagreeing} do not agree yet"
        return f"{', '.join(parts)}: {state}"
