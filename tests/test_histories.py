"""The judge of histories: what a register may not do, one at a time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.records import Version
from tools.histories import NEVER_US, Operation, judged, pauses, recorded

KEY = 3


def put(version: int, began: int, ended: int = NEVER_US, client: int = 1) -> Operation:
    known = None if ended == NEVER_US else Version(version, b"")
    return Operation(client, KEY, True, b"%d" % version, began, ended, known)


def got(version: int | None, began: int, ended: int, client: int = 2, key: int = KEY) -> Operation:
    value = b"" if version is None else b"%d" % version
    return Operation(client, key, False, value, began, ended, None if version is None else Version(version, b""))


class JudgeTests(SynchronousTestCase):
    """One key; moments are numbers."""

    def assert_wrong(self, operations: list[Operation], *kinds: str) -> None:
        self.assertEqual(dict(+judged(operations)), dict.fromkeys(kinds, 1))

    def test_right(self) -> None:
        """A get that overlaps a put may see it or what was there before; a put that failed may be seen, or not."""
        for seen in (1, 2):
            self.assert_wrong([put(1, 0, 1), put(2, 5, 9), got(seen, 6, 7)])
            self.assert_wrong([put(1, 0, 1), put(2, 2), got(seen, 6, 7)])
        self.assert_wrong([got(None, 0, 5), put(1, 1, 2)])

    def test_missing(self) -> None:
        """What was confirmed is found; under another key it was not put."""
        self.assert_wrong([put(1, 0, 1), got(None, 2, 3)], "missing")
        self.assert_wrong([put(1, 0, 1), got(None, 2, 3, key=KEY + 1)])

    def test_stale(self) -> None:
        """And not what was there before."""
        self.assert_wrong([put(1, 0, 1), put(2, 2, 3), got(1, 4, 5)], "stale")

    def test_back(self) -> None:
        """A client that has seen a version, its own or another's, sees none that is older; nor does anybody else."""
        twice = [put(1, 0, 1), put(2, 2, client=2), got(2, 3, 4, 2), got(1, 5, 6, 2)]
        self.assert_wrong(twice, "back", "crossed")
        self.assert_wrong([*twice[:3], got(1, 5, 6, 7)], "crossed")
        self.assert_wrong([*twice[:2], got(2, 3, 9, 2), got(1, 5, 6, 7)])

    def test_unordered(self) -> None:
        """Of two puts one behind another the second has the newer version."""
        self.assert_wrong([put(2, 0, 1), put(1, 2, 3)], "unordered")
        self.assert_wrong([put(2, 0, 3), put(1, 2, 4)])

    def test_invented(self) -> None:
        """Nobody finds what nobody has begun to put."""
        self.assert_wrong([put(1, 5, 6), got(1, 1, 2)], "invented")
        self.assert_wrong([got(9, 1, 2)], "invented")

    def test_parted(self) -> None:
        """What was under way while the ring was parted is counted apart, what began after it is not."""
        history = [put(1, 0, 1), got(None, 2, 3), got(None, 4, 9), got(None, 5, 6)]
        self.assertEqual({"missing while parted": 2, "missing": 1}, dict(judged(history, [(3, 5)])))


class RecordTests(SynchronousTestCase):
    """A history of a simulated ring."""

    def test_pauses(self) -> None:
        """Where a node stands still now and then there is nothing wrong, and nearly everything is answered."""
        history = recorded(3, pauses, 300, nodes=6).history
        self.assertGreaterEqual(len(history), 300)
        self.assertEqual(dict(+judged(history)), {})
        self.assertTrue(any(operation.version for operation in history if not operation.is_put))
