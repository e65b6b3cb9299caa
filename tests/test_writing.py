"""One write under way: who confirms, who stands in, when it is done."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.lookup import Route
from chordtwist.core.writing import Send, Writing
from tests.builders import at, peer, peers, places

Told = tuple[list[tuple[int, int]], bool, bool, str | None]
"""Sends behind the first ones as (place, rank), whether it is done, and over, and why it is refused."""

CASES: dict[str, tuple[str, Told]] = {
    # Of the members 1 to 5 the first four are the replicas, 1 is the owner. "2+": 2 confirmed; "2-": it is silent or
    # leaves; "2 full" and any other word: it refuses.
    "nobody has answered": ("", ([], False, False, None)),
    "two are no majority": ("2+ 1+", ([], False, False, None)),
    "three are one, the last may still answer": ("2+ 1+ 3+", ([], True, False, None)),
    "all have it": ("2+ 1+ 3+ 4+", ([], True, True, None)),
    "a slow owner is not waited for": ("2+ 3+ 4+", ([], True, False, None)),
    "the next member stands in for a silent one": ("3-", ([(5, 4)], False, False, None)),
    "behind the last one nobody does": ("3- 5-", ([(5, 4)], False, False, None)),
    "silence is an answer": ("1+ 2+ 3+ 4- 5-", ([(5, 4)], True, True, None)),
    "who stands in counts": ("1- 2+ 3+ 5+", ([(5, 4)], True, False, None)),
    "a single replica is met by no majority of readers": ("1- 2- 3- 4+ 5+", ([(5, 4)], False, True, None)),
    "an owner in place is one replica": ("3- 4- 2- 1+ 5+ 6+", ([(5, 4), (6, 5), (7, 6)], False, False, None)),
    "a full replica is stood in for": ("2 full", ([(5, 4)], False, False, None)),
    "a full owner too": ("1 full 2+ 3+ 4+ 5+", ([(5, 4)], True, True, None)),
    "two full ones leave room for two": ("1 full 2 full 3+ 4+ 5+", ([(5, 4)], True, True, None)),
    "too few have room": ("1 full 2 full 3 full 4+ 5+", ([(5, 4)], False, True, "full")),
    "one no is none": ("2 kind 1+ 3+ 4+", ([], True, True, None)),
    "nor is that of the owner": ("1 kind", ([], False, False, None)),
    "two leave no majority": ("2 clock 3 clock", ([], False, False, "clock")),
    "the reason that most give": ("2 clock 3 kind 4 kind", ([], False, False, "kind")),
    "a newer version is not for one replica to say": ("1 newer", ([], False, False, None)),
    "nor for two while others may answer": ("3 newer 2 newer", ([], False, False, None)),
    "three are enough to know": ("3 newer 2 newer 4 newer", ([], False, False, "newer")),
    "nobody else is left to say so": ("3 newer 2 newer 4+ 1+", ([], False, True, "newer")),
}


def writing_to(*members: int) -> Writing:
    """A write of four copies to these members, of a key at 0."""
    return Writing(Route(at(0), peers(*members)), 4)


def write(writing: Writing, events: str) -> Told:
    """Begin, tell what came of each, and note what it says."""
    writing.begin()
    sends: list[Send] = []
    words = events.split()
    for word, after in zip(words, words[1:] + words[:1], strict=True):
        if word.isalpha():
            continue
        who = peer(int(word[0]))
        if word.endswith("+"):
            writing.stored(who)
        elif word.endswith("-"):
            sends += writing.out(who)
        elif after == "full":
            sends += writing.full(who)
        else:
            writing.refused(who, after)
    return placed(sends), writing.done, writing.over, writing.refusal


def placed(sends: Iterable[Send]) -> list[tuple[int, int]]:
    """Sends with the places of their receivers."""
    return [(places([to])[0], rank) for to, rank in sends]


class WritingTests(SynchronousTestCase):
    """Writes of four copies."""

    def test_goes_to_all_replicas_at_once(self) -> None:
        """Each is told which replica it is."""
        self.assertEqual(placed(writing_to(1, 2, 3, 4, 5).begin()), [(1, 0), (2, 1), (3, 2), (4, 3)])

    def test_what_replicas_say(self) -> None:
        """Case by case: `CASES`."""
        for case, (events, expected) in CASES.items():
            self.assertEqual(
                write(writing_to(*(range(1, 8) if "6" in events else range(1, 6))), events), expected, case
            )

    def test_fewer_members_than_copies(self) -> None:
        """In a ring of two both make the majority, in a ring of one the one."""
        for members, events, done in ((2, "1+", False), (2, "1+ 2+", True), (1, "1+", True)):
            self.assertIs(write(writing_to(*range(1, members + 1)), events)[1], done)

    def test_an_owner_of_earlier_has_to_answer(self) -> None:
        """Whatever it says; until it was late."""
        for events, done in (
            ("", False),
            ("1+", True),
            ("1-", True),
            ("1 full", True),
        ):
            writing = Writing(Route(at(0), peers(1, 2, 3, 4, 5)), 4, awaits_owner=True)
            self.assertIs(write(writing, f"2+ 3+ 4+ {events}")[1], done)
            self.assertIs(writing.lacks_owner, not done)
            writing.awaits_owner = False
            self.assertTrue(writing.done)
