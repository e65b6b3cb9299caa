"""`Health`: what makes a node say that it is not well, in what words, and when it is silent."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.health import (
    CERTIFICATE_ENDING_S,
    CLOCK_OFF_MS,
    DESCRIPTORS_FREE_MIN,
    DISK_FREE_BYTES_MIN,
    QUIET_S,
    Alarm,
    Cause,
    Facts,
    Health,
    as_json,
    complaints,
    unready,
)

WELL = Facts(up_s=600.0, answering=3, listed=3, members=9.0, members_before=9.0)

ILL: tuple[tuple[Facts, Cause, str], ...] = (
    (
        replace(WELL, answering=0),
        Cause.CUT_OFF,
        "cut off: none of 3 neighbours answers",
    ),
    (
        replace(WELL, is_member=False, listed=0, answering=0),
        Cause.CUT_OFF,
        "in no ring yet",
    ),
    (
        replace(WELL, is_member=False, obstacles={"10.0.0.1:6401": "connection refused"}),
        Cause.CUT_OFF,
        "in no ring: 10.0.0.1:6401: connection refused",
    ),
    (
        replace(WELL, answering=0, listed=0, members=1.0, left=9, refusals=dict.fromkeys("abc", "certificate revoked")),
        Cause.REFUSED,
        "cut off: all of 3 refuse us: certificate revoked",
    ),
    (replace(WELL, certificate_left_s=-1.0), Cause.CERTIFICATE, "our certificate has ended"),
    (replace(WELL, certificate_left_s=3_600.0), Cause.CERTIFICATE, "our certificate ends today"),
    (replace(WELL, certificate_left_s=86_400.0), Cause.CERTIFICATE, "our certificate ends in 1 days"),
    (replace(WELL, certificate_left_s=1.5 * 86_400), Cause.CERTIFICATE, "our certificate ends in 2 days"),
    (
        replace(WELL, certificate_left_s=CERTIFICATE_ENDING_S - 1),
        Cause.CERTIFICATE,
        "our certificate ends in 14 days",
    ),
    (replace(WELL, wall_year=1970), Cause.CLOCK, "this machine's clock says 1970"),
    (
        replace(WELL, clock_ahead_ms=-CLOCK_OFF_MS),
        Cause.CLOCK,
        "this machine's clock is 30 s behind its neighbours'",
    ),
    (replace(WELL, disk_error="No space left on device"), Cause.DISK, "No space left on device"),
    (replace(WELL, disk_free_bytes=DISK_FREE_BYTES_MIN - 1), Cause.DISK, "63 MiB left on the disk of state_dir"),
    (
        replace(WELL, descriptors_free=DESCRIPTORS_FREE_MIN - 1),
        Cause.DESCRIPTORS,
        "15 file descriptors left: raise the limit (ulimit -n)",
    ),
    (
        replace(WELL, members=4.0, left=1),
        Cause.SHRUNK,
        "4 members where some 9 were, and 1 of them left",
    ),
    (replace(WELL, records_below=7), Cause.COPIES, "7 records have fewer copies than they should"),
)


class UnreadyTests(SynchronousTestCase):
    """Whether to send anybody to a node."""

    def test_ready(self) -> None:
        """Ready is a member whose majority of neighbours answers, and one alone; whatever else is wrong."""
        for facts in WELL, Facts(), replace(WELL, answering=2), replace(WELL, records_below=9, descriptors_free=0):
            self.assertEqual([], unready(facts), facts)

    def test_not_ready(self) -> None:
        """No member, refused by all, half of the neighbours silent, a disk that takes nothing: each is said."""
        for facts, reasons in (
            (replace(WELL, is_member=False, listed=0, answering=0), ["in no ring yet"]),
            (replace(WELL, is_member=False, obstacles={"a": "refused"}), ["in no ring: a: refused"]),
            (
                replace(WELL, answering=0, is_member=False, refusals={"a": "no"}),
                ["cut off: a refuses us: no"],
            ),
            # Whoever refuses is taken for dead after a while, and the list is empty then.
            (replace(WELL, answering=0, listed=0, refusals={"a": "no"}), ["cut off: a refuses us: no"]),
            (replace(WELL, answering=2, listed=4), ["2 of 4 neighbours answer"]),
            (replace(WELL, disk_error="read-only"), ["read-only"]),
            (replace(WELL, answering=1, disk_error="full"), ["1 of 3 neighbours answer", "full"]),
        ):
            self.assertEqual(reasons, unready(facts))


class ComplaintsTests(SynchronousTestCase):
    """One look."""

    def test_well(self) -> None:
        """A node that is well has nothing to complain of."""
        self.assertEqual({}, complaints(WELL))

    def test_each(self) -> None:
        """Each cause is found by itself, and said in words that tell what to do or whom to ask."""
        for facts, cause, text in ILL:
            self.assertEqual({cause: text}, complaints(facts), text)

    def test_left(self) -> None:
        """A ring that is smaller because its members said that they leave is well."""
        self.assertEqual({}, complaints(replace(WELL, members=3.0, left=6)))

    def test_smaller_than_replication(self) -> None:
        """A ring that cannot have so many copies is not blamed for having fewer."""
        self.assertEqual({}, complaints(replace(WELL, members=3.0, members_before=3.0, records_below=7)))


class HealthTests(SynchronousTestCase):
    """Look by look."""

    def setUp(self) -> None:
        self.health = Health()
        self.cut_off = replace(WELL, answering=0)

    def test_two_looks(self) -> None:
        """An alarm takes two looks in a row."""
        self.assertEqual(([], []), self.health.look(self.cut_off, 1.0))
        self.assertTrue(self.health.is_well)
        self.health.look(WELL, 2.0)
        self.health.look(self.cut_off, 3.0)
        self.assertTrue(self.health.is_well)
        began, _ = self.health.look(self.cut_off, 4.0)
        self.assertEqual([Alarm(Cause.CUT_OFF, "cut off: none of 3 neighbours answers", 4.0)], began)
        self.assertFalse(self.health.is_well)

    def test_ends_by_itself(self) -> None:
        """An alarm whose cause is gone ends at the next look."""
        self.health.look(self.cut_off, 1.0)
        (began,), _ = self.health.look(self.cut_off, 2.0)
        self.assertEqual(([], [began]), self.health.look(WELL, 3.0))
        self.assertEqual("well", self.health.in_words())

    def test_text_follows(self) -> None:
        """While an alarm is on its words follow what is seen; it began when it began."""
        self.health.look(self.cut_off, 1.0)
        self.health.look(self.cut_off, 2.0)
        self.assertEqual(([], []), self.health.look(replace(self.cut_off, listed=2), 3.0))
        self.assertEqual("cut off: none of 2 neighbours answers", self.health.in_words())
        (shown,) = as_json(self.health.alarms.values())
        self.assertEqual(
            {"cause": "cut-off", "text": "cut off: none of 2 neighbours answers", "since_s": 2.0},
            shown,
        )

    def test_first_minute(self) -> None:
        """Nothing is an alarm in the first minute."""
        young = replace(self.cut_off, up_s=QUIET_S - 1)
        for now_s in (1.0, 2.0, 3.0):
            self.assertEqual(([], []), self.health.look(young, now_s))

    def test_first_alone(self) -> None:
        """The first node of a ring, to which nobody has come yet, is well."""
        alone = Facts(up_s=600.0)
        for now_s in (1.0, 2.0):
            self.health.look(alone, now_s)
        self.assertTrue(self.health.is_well)
