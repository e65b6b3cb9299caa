"""A lookup that hears witnesses: how many, who counts as one, and what lies come to."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.witnesses import RIVALS_MAX, WITNESSES, WitnessedLookup
from tests.builders import at, large_ring, peer, peers, places, table, whole_ring

MEMBERS = tuple(range(2, 202, 2))
"""A hundred members; position 101 is owned by 102."""

ENTRIES = 16


class WitnessesTests(SynchronousTestCase):
    """`WitnessedLookup` of position 101 among a hundred members with lists of sixteen."""

    def setUp(self) -> None:
        """Everybody's table is ideal, without fingers; those before the position were met."""
        self.tables = large_ring(ENTRIES, *MEMBERS)
        self.met = set(peers(*MEMBERS))

    def begin(self, *starts: int, likely: Iterable[int] = ()) -> WitnessedLookup:
        return WitnessedLookup(at(101), None, peers(*starts), self.met.__contains__, peers(*likely))

    def drive(self, lookup: WitnessedLookup, silent: Iterable[int] = ()) -> list[list[int]]:
        """Answer everything a lookup asks; the places asked, round by round."""
        rounds: list[list[int]] = []
        gone = set(peers(*silent))
        while asked := lookup.at_once() or [chosen for chosen in [lookup.next_peer()] if chosen is not None]:
            rounds.append(places(asked))
            for chosen in asked:
                if chosen in gone or places([chosen])[0] not in self.tables:
                    lookup.unreachable(chosen)
                else:
                    lookup.answered(self.tables[places([chosen])[0]])
        self.assertTrue(lookup.done)
        return rounds

    def owner(self, lookup: WitnessedLookup) -> int | None:
        route = lookup.route(4)
        return None if route is None else places(route.replicas)[0]

    def leave_out(self, hidden: Iterable[int], *liars: int) -> None:
        """Let liars name those behind the hidden in their place."""
        hidden = set(hidden)
        for liar in liars:
            shown = [member for member in (*MEMBERS, *MEMBERS) if member not in hidden]
            start = next((n for n, member in enumerate(shown) if member > liar), 0)
            self.tables[liar] = table(liar, shown[start : start + ENTRIES])

    def test_all_is_well(self) -> None:
        """Six witnesses and the owner are asked, all at once, when the owner was met before."""
        lookup = self.begin(100, 98, 96, 94, 92, 90, 88, likely=[102])
        self.assertEqual(self.drive(lookup), [[100, 98, 96, 94, 92, 90, 102]])
        self.assertEqual(self.owner(lookup), 102)

    def test_owner_not_known(self) -> None:
        """Whom the witnesses name as the owner is asked behind them."""
        lookup = self.begin(100, 98, 96, 94, 92, 90, 88)
        self.assertEqual(self.drive(lookup), [[100, 98, 96, 94, 92, 90], [102]])

    def test_agreed(self) -> None:
        """Behind the owner all is sure that six witnesses reach over and show alike."""
        for why, liars, starts, agreed in (
            ("the sixth witness reaches over ten more", (), (100, 98, 96, 94, 92, 90), 10),
            ("the sixth of seven", (), (100, 98, 96, 94, 92, 90, 80), 10),
            ("one leaves somebody out", (96,), (100, 98, 96, 94, 92, 90), 2),
            ("too few", (), (100, 98, 96), 0),
        ):
            self.setUp()
            self.leave_out([108], *liars)
            lookup = self.begin(*starts)
            self.drive(lookup)
            route = lookup.route(ENTRIES)
            assert route is not None
            self.assertEqual(route.agreed, agreed, why)

    def test_one_honest_witness(self) -> None:
        """Whatever the others leave out, the owner that one witness names is found; and all that can be are heard."""
        starts = range(100, 70, -2)
        for honest in (100, 92, 78):
            self.setUp()
            self.leave_out([102], *(start for start in starts if start != honest))
            lookup = self.begin(honest, *(start for start in starts if start != honest))
            self.drive(lookup)
            self.assertEqual(self.owner(lookup), 102)

    def test_widening(self) -> None:
        """One list that leaves the owner out brings nine witnesses to be heard, two bring sixteen."""
        for liars, heard in (((), 6), ((98,), 9), ((98, 96), 16)):
            self.setUp()
            self.leave_out([102], *liars)
            lookup = self.begin(*range(100, 68, -2))
            self.drive(lookup)
            self.assertEqual(len(lookup.witnesses), heard, liars)
            self.assertEqual(self.owner(lookup), 102)

    def test_invented_owners(self) -> None:
        """Names that one liar invents are dialled together, the true owner with them; none costs a round of its own."""
        invented = [101, *range(203, 203 + ENTRIES - 1)]
        self.tables[100] = table(100, invented)
        lookup = self.begin(100, 98, 96, 94, 92)
        rounds = self.drive(lookup)
        self.assertEqual(self.owner(lookup), 102)
        self.assertLessEqual(len(rounds), 4)
        self.assertLessEqual(max(map(len, rounds[1:])), max(RIVALS_MAX, *WITNESSES))

    def test_namers(self) -> None:
        """Whoever has shown a table that names somebody is told of, the latest first."""
        lookup = self.begin(100, 98, 96)
        for place in 98, 96:
            lookup.begin_with(self.tables[place])
        self.assertEqual(peers(96, 98), tuple(lookup.namers(peer(102))))
        self.assertEqual((), tuple(lookup.namers(peer(101))))

    def test_silent_witnesses(self) -> None:
        """Others are heard in place of those that do not answer."""
        lookup = self.begin(100, 98, 96, 94, 92, 90, 88, 86)
        self.drive(lookup, silent=(98, 94))
        self.assertEqual(len(lookup.witnesses), 6)
        self.assertEqual(self.owner(lookup), 102)

    def test_an_impatient_asker(self) -> None:
        """Who will not wait asks one witness more; when there is none it is over."""
        lookup = self.begin(100, 98, 96, 94, 92, 90, 88)
        lookup.at_once()
        self.assertEqual(lookup.next_peer(), peer(88))
        self.assertIsNone(lookup.next_peer())

    def test_lineages_are_apart(self) -> None:
        """From far away each way to the position is one of its own: nobody is on two of them."""
        lookup = self.begin(70, 68, 66, 64, 62)
        rounds = self.drive(lookup)
        asked = [place for round in rounds for place in round]
        self.assertEqual(len(asked), len(set(asked)))
        self.assertEqual(rounds[0], [70, 68, 66, 64, 62])
        self.assertGreaterEqual(len({shown.peer for shown in lookup.witnesses}), 5)
        self.assertEqual(self.owner(lookup), 102)

    def test_remembered_tables_lead_on(self) -> None:
        """A start whose table is at hand and does not reach over the position is not asked; one whose does, is."""
        starts = (68, 66, 64, 62, 60)
        shown = {peer(place): self.tables[place] for place in (*starts, 98)}
        lookup = WitnessedLookup(at(101), None, peers(98, *starts), self.met.__contains__, (), shown.get)
        asked = [place for round in self.drive(lookup) for place in round]
        self.assertEqual(set(asked) & set(starts), set())
        self.assertIn(98, asked)
        self.assertEqual(len(asked), len(set(asked)))
        self.assertGreaterEqual(len({witness.peer for witness in lookup.witnesses}), 5)
        self.assertEqual(self.owner(lookup), 102)

    def test_remembered_tables_that_lead_nowhere(self) -> None:
        """When remembered tables lead to nobody whom another way has not come to, the other starts are asked, and when
        there are none the search is a plain one.
        """
        met = (20, 18, 16, 14)
        for following, starts in ((60, met), (60, (*met, 100)), (0, met), (0, (*met, 100))):
            shown = {peer(place): table(place, (following,) if following else (), place - 2) for place in met}
            lookup = WitnessedLookup(at(101), None, peers(*starts), self.met.__contains__, (), shown.get)
            lookup.hear(peers(96))
            self.drive(lookup)
            self.assertEqual(self.owner(lookup), 102, (following, starts))

    def test_a_remembered_owner_is_asked(self) -> None:
        """In a small ring the owner is among the starts: what it showed some minutes ago is not its word of now."""
        self.tables = whole_ring(10, 50, 102)
        shown = {peer(102): table(102, (10,), 50)}
        lookup = WitnessedLookup(at(101), None, peers(50, 10, 102), self.met.__contains__, (), shown.get)
        self.assertIn(102, [place for round in self.drive(lookup) for place in round])

    def test_a_start_on_anothers_way(self) -> None:
        """A peer that one way has come to begins no other: it would count for two."""
        lookup = self.begin(66, 64, 62, 60, 58, 98, 96, 94, 92, 90)
        self.drive(lookup, silent=(58,))
        heard = [shown.peer for shown in lookup.witnesses]
        self.assertEqual(len(heard), len(set(heard)))

    def test_a_long_way_is_wide(self) -> None:
        """Where witnesses are others' word more of them are heard, as many more as their ways have steps."""
        for nearest, heard in ((100, WITNESSES[0]), (70, WITNESSES[1]), (38, WITNESSES[2])):
            lookup = self.begin(*range(nearest, nearest - 2 * ENTRIES - 2, -2))
            self.drive(lookup)
            self.assertGreaterEqual(len(lookup.witnesses), heard)

    def test_doubts_from_the_beginning(self) -> None:
        """Whoever has a reason to doubt before the first answer hears as many more, though all say the same."""
        for doubts, heard in enumerate(WITNESSES):
            starts = peers(*range(100, 100 - 2 * ENTRIES - 2, -1))
            self.met.update(starts)
            lookup = WitnessedLookup(at(101), None, starts, self.met.__contains__, doubts=doubts)
            self.drive(lookup)
            self.assertEqual(len(lookup.witnesses), min(heard, len(starts)))

    def test_a_liars_way(self) -> None:
        """A liar leads its own lineage only: the others come to the owner."""
        self.tables[70] = table(70, [100])
        self.leave_out([102], 100)
        lookup = self.begin(70, 68, 66, 64, 62)
        self.drive(lookup)
        self.assertEqual(self.owner(lookup), 102)

    def test_fresh_tables_count(self) -> None:
        """Tables at hand are witnesses that need not be asked."""
        lookup = self.begin(100, 98, 96, 94, 92, likely=[102])
        for place in (100, 98, 96):
            lookup.begin_with(self.tables[place])
        self.assertEqual(self.drive(lookup), [[94, 92, 102]])

    def test_nobody_was_met(self) -> None:
        """Without anybody to begin with it is a plain search from whom somebody named."""
        lookup = self.begin()
        lookup.hear(peers(90))
        self.drive(lookup)
        self.assertEqual(self.owner(lookup), 102)

    def test_whole_lists(self) -> None:
        """A list that closes reaches over every position."""
        self.tables = whole_ring(10, 50, 102)
        lookup = self.begin(10, 50)
        self.drive(lookup)
        self.assertEqual(self.owner(lookup), 102)

    def test_any_liars(self) -> None:
        """With one honest witness among those drawn the owner is found, whatever the others leave out."""
        rng = Random(4)
        for _ in range(60):
            self.setUp()
            liars = {member for member in MEMBERS if member not in (102,) and rng.random() < 0.25}
            for liar in liars:
                self.leave_out([m for m in MEMBERS if m not in liars and m != liar], liar)
            starts = list(range(100, 68, -2))
            rng.shuffle(starts)
            if all(start in liars for start in starts[:5]):
                continue
            lookup = self.begin(*starts)
            self.drive(lookup)
            self.assertEqual(self.owner(lookup), 102)
