"""`Inspecting`: what people are shown of the replicas of one key, some of which lie."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from chordtwist.core.reading import AS_PUBLISHER
from chordtwist.core.records import Record, Version
from chordtwist.node.records.record_bodies import body_of, version_body_of
from chordtwist.wire.peer_messages import Answer, Fetch, Found, Question
from tests.builders import peer
from tests.record_ring import WALL_MS
from tests.ring_case import KEY, OUTSIDER, RingCase

LIAR = 0x4000
ACCOMPLICE = 0x7000
"""Keeps no copy of `KEY` either."""


class InspectingTests(RingCase):
    """A value of `OUTSIDER` is in place; `LIAR`, one of its replicas, shows another one, of `ACCOMPLICE`."""

    def setUp(self) -> None:
        super().setUp()
        self.put_and_wait(OUTSIDER)
        here = self.ring.node(LIAR).records.local_records.get(KEY)
        assert isinstance(here, Record)
        self.true = here
        self.forged = replace(here, value=b"forged", version=Version(WALL_MS + 20_000, peer(ACCOMPLICE).packed))
        self.ring.lies[peer(LIAR)] = lambda question: self.lie(question, self.forged)

    def lie(self, question: Question, shown: Record) -> Answer | None:
        if not isinstance(question, Fetch):
            return None
        return Found((body_of if question.value else version_body_of)(shown, 0))

    def inspected(self) -> Any:
        inspected = self.ring.node(0x1000).records.inspecting.inspect(KEY)
        self.ring.pass_time(5)
        return self.successResultOf(inspected)

    def confirms(self, shown: Record) -> None:
        """`ACCOMPLICE` answers so when it is asked for what it has put."""

        def lie(question: Question) -> Answer | None:
            return self.lie(question, shown) if isinstance(question, Fetch) and question.rank == AS_PUBLISHER else None

        self.ring.lies[peer(ACCOMPLICE)] = lie

    def test_a_publisher_speaks_of_its_own_puts_only(self) -> None:
        """What it says of another's is no word, as for a reader."""
        self.confirms(replace(self.true, value=b"nonsense", version=replace(self.true.version, ms=WALL_MS + 30_000)))
        seen = self.inspected()
        self.assertEqual([row["behind"] for row in seen["replicas"]], [False, True, False, False])
        self.assertEqual((seen["reader"]["found"], seen["reader"]["version_ms"]), (True, self.true.version.ms))
        self.assertEqual(self.value_at(0x1000), b"value")

    def test_a_publisher_confirms_its_put(self) -> None:
        """Then the others are behind."""
        self.confirms(self.forged)
        seen = self.inspected()
        self.assertEqual([row["behind"] for row in seen["replicas"]], [True, False, True, True])
        self.assertEqual(seen["reader"]["version_ms"], self.forged.version.ms)
