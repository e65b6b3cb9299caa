"""A lookup of one's own place: both members there, found by one honest contact."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.own_place import OwnPlace
from chordtwist.core.peer import Peer
from tests.builders import peer, peers, places, table

STEP = 650
COUNT = 100
"""Members are called by their numbers, 0 to 99, and stand that many steps from the beginning of the circle."""

BEFORE, OWNER = 50, 51
ME = peer(BEFORE * STEP + 1)
ENTRIES = 16


def number(found: Peer) -> int:
    return places([found])[0] // STEP


class OwnPlaceTests(SynchronousTestCase):
    """`OwnPlace` of somebody between 50 and 51, among a hundred members with lists of sixteen and fingers."""

    def setUp(self) -> None:
        """Everybody tells the truth; nobody is silent."""
        self.silent: set[int] = set()
        self.shown = {member: self.table(member, range(COUNT)) for member in range(COUNT)}

    def table(self, member: int, ring: Iterable[int], lists_us: bool = False):  # type: ignore[no-untyped-def]
        """The table of a member of a ring in which there are these."""
        behind = sorted((other for other in ring if other != member), key=lambda other: (other - member) % COUNT)
        fingers = [next(other for other in behind if (other - member) % COUNT >= far) for far in (24, 48)]
        listed = [other * STEP for other in behind[:ENTRIES]]
        if lists_us and OWNER in behind[:ENTRIES]:
            listed = [*listed[: behind.index(OWNER)], BEFORE * STEP + 1, *listed[behind.index(OWNER) :]][:ENTRIES]
        return table(member * STEP, listed, behind[-1] * STEP, fingers=[finger * STEP for finger in fingers])

    def lie(self, *liars: int) -> None:
        """These name one another only."""
        self.shown.update({liar: self.table(liar, liars) for liar in liars})

    def search(self, *contacts: int, starts: Iterable[int] = ()) -> OwnPlace:
        """Look the place up until it is done."""
        met = {peer(member * STEP) for member in (*contacts, *starts)}
        known = peers(*(start * STEP for start in starts))
        lookup = OwnPlace(ME, known, met.__contains__, peers(*(contact * STEP for contact in contacts)))
        for contact in contacts:
            lookup.begin_with(self.shown[contact])
        return self.drive(lookup)

    def drive(self, lookup: OwnPlace) -> OwnPlace:
        """Answer until it is done."""
        while asked := lookup.at_once() or [chosen for chosen in [lookup.next_peer()] if chosen is not None]:
            for chosen in asked:
                if number(chosen) in self.silent:
                    lookup.unreachable(chosen)
                else:
                    lookup.answered(self.shown[number(chosen)])
        return lookup

    def neighbours(self, lookup: OwnPlace) -> tuple[int | None, int | None]:
        """Who was found before the place, and who owns it."""
        before, owner = lookup.predecessor, lookup.owner_table
        return None if before is None else number(before.peer), None if owner is None else number(owner.peer)

    def test_newcomer(self) -> None:
        """Both members are found from any contact; nobody lies, so few questions are enough."""
        for contacts in ((25,), (75,), (50,), (51,), (5, 30, 55, 80)):
            lookup = self.search(*contacts)
            self.assertEqual(self.neighbours(lookup), (BEFORE, OWNER))
            self.assertLessEqual(lookup.questions, 16)

    def test_member(self) -> None:
        """A member looks itself up as if it did not stand there: others name it, and it is not asked."""
        self.shown = {member: self.table(member, range(COUNT), lists_us=True) for member in range(COUNT)}
        lookup = self.search(starts=range(50, 30, -1))
        self.assertEqual(self.neighbours(lookup), (BEFORE, OWNER))
        self.assertTrue(all(ME in shown.successors for shown in lookup.witnesses))

    def test_one_honest_contact(self) -> None:
        """One honest contact is enough among liars that name only one another, and so show a smaller ring."""
        self.lie(*range(2, COUNT, 4))
        for honest in (25, 55, 81):
            self.assertEqual(self.neighbours(self.search(2, 30, honest, 62)), (BEFORE, OWNER))

    def test_somebody_is_left_out(self) -> None:
        """A witness that leaves the owner out makes a newcomer hear more of them."""
        few = len(self.search(45, 25, 75).witnesses)
        self.shown[45] = self.table(45, [member for member in range(COUNT) if member != OWNER])
        lookup = self.search(45, 25, 75)
        self.assertEqual(self.neighbours(lookup), (BEFORE, OWNER))
        self.assertGreater(len(lookup.witnesses), few)

    def test_nobody_answers(self) -> None:
        """Where nobody answers there is neither."""
        self.silent = set(range(COUNT))
        self.assertEqual(self.neighbours(self.search(starts=(25,))), (None, None))

    def test_ring_of_one(self) -> None:
        """In a ring of one both are the same member."""
        self.shown = {25: table(25 * STEP, whole=True)}
        lookup = self.search(25)
        self.assertEqual(self.neighbours(lookup), (25, 25))
        self.assertEqual(lookup.most_say_whole(), self.shown[25])

    def test_contacts_are_asked(self) -> None:
        """Contacts that have not just shown their tables are asked for them, and lead on as well."""
        self.lie(*range(2, COUNT, 4))
        met = {peer(member * STEP) for member in (2, 30, 25)}
        lookup = OwnPlace(ME, (), met.__contains__, peers(2 * STEP, 30 * STEP, 25 * STEP))
        self.assertEqual(self.neighbours(self.drive(lookup)), (BEFORE, OWNER))

    def test_silent_between(self) -> None:
        """Whom the member before the place names behind it, and who shows no table, is told: he may live."""
        self.silent = {51, 52}
        lookup = self.search(30)
        before, owner = lookup.predecessor, lookup.owner_table
        assert before is not None and owner is not None
        self.assertEqual(self.neighbours(lookup), (50, 53))
        self.assertEqual([number(peer) for peer in lookup.silent_between(before, owner.peer)], [51, 52])

    def test_shown(self) -> None:
        """All tables that came are told, of the nearest before the place first."""
        shown = [number(found.peer) for found in self.search(30, 75).shown()]
        self.assertEqual(shown, sorted(shown, key=lambda member: (BEFORE - member) % COUNT))
        self.assertLessEqual({30, 75, BEFORE, OWNER}, set(shown))
