"""`Reader`: reading over replicas that fail in every way, on a ring whose pointers are right."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import cast

from msgspec.structs import replace

from chordtwist.core.errors import TOO_FEW, Refused, Unreachable
from chordtwist.core.lookup import Quality
from chordtwist.core.records import Record, RecordKind, Version
from chordtwist.core.ring import Arc
from chordtwist.node.records.reads import HEDGE_AFTER_S, HEDGES_MAX, UNVERIFIED_HEDGES_MAX
from chordtwist.node.records.record_bodies import body_of
from chordtwist.wire.peer_messages import Answer, Fetch, Found, NotFound, NotMine, Question, Store, Stored
from tests.builders import at, peer
from tests.record_ring import DELAY_S, WALL_MS, RecordRing, key_in
from tests.ring_case import A_MOMENT_S, EIGHT, KEY, OUTSIDER, OWNED, ROUND_TRIP_S, SIGNED_KEY, RingCase, seal


class GetTests(RingCase):
    """Reading from four replicas."""

    def setUp(self) -> None:
        super().setUp()
        self.put_and_wait(0x1000)
        for node in self.ring.nodes.values():
            node.asked.clear()

    def test_one_round_trip(self) -> None:
        """The value from the owner, versions from two others, in parallel."""
        read = self.get(OUTSIDER)
        self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
        record = self.successResultOf(read)
        assert record is not None
        self.assertEqual(record.value, b"value")
        asked = [(to, question) for to, question in self.ring.node(OUTSIDER).asked if isinstance(question, Fetch)]
        self.assertEqual(
            asked,
            [
                (peer(0x3000), Fetch(KEY, 0, True)),
                (peer(0x4000), Fetch(KEY, 1, False)),
                (peer(0x5000), Fetch(KEY, 2, False)),
            ],
        )

    def test_the_owner_asks_too(self) -> None:
        """A put may have been confirmed without it: its own word is that of one replica."""
        self.assertEqual(self.value_at(0x3000, within_s=ROUND_TRIP_S + A_MOMENT_S), b"value")
        self.assertEqual(self.questions_of(0x3000, Fetch), 2)

    def test_a_replica_asks_for_versions_only(self) -> None:
        """The value is here; whether it is the newest the others know."""
        self.assertEqual(self.value_at(0x5000, within_s=ROUND_TRIP_S + A_MOMENT_S), b"value")
        self.assertEqual(
            [question for _, question in self.ring.node(0x5000).questions(Fetch)],
            [Fetch(KEY, 0, False), Fetch(KEY, 1, False)],
        )

    def test_a_dead_owner_costs_one_round_trip_more(self) -> None:
        """Its host refuses: the next replica is asked at once."""
        self.ring.refusing.add(peer(0x3000))
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")

    def test_a_silent_owner_costs_a_quarter_of_a_second(self) -> None:
        """The next replica is asked long before the question's limit."""
        self.ring.silent.add(peer(0x3000))
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.3), b"value")

    def test_a_silent_owner_costs_it_once(self) -> None:
        """From then on the next replica is asked along with it; when it answers again, the others are spared."""
        self.ring.silent.add(peer(0x3000))
        self.value_at(OUTSIDER, within_s=0.3)
        for _ in range(3):
            self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")
            self.ring.pass_time(1)
        self.ring.silent.clear()
        self.ring.pass_time(10)
        asked = self.ring.node(OUTSIDER).asked
        asked.clear()
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + A_MOMENT_S), b"value")
        spoken_to = [to for to, question in asked if isinstance(question, Fetch)]
        self.assertEqual(spoken_to, [peer(0x3000), peer(0x4000), peer(0x5000)])

    def test_any_one_living_copy_is_found(self) -> None:
        """Whichever three of the four are silent, within a second and a half."""
        for survivor in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent = {peer(place) for place in (0x3000, 0x4000, 0x5000, 0x6000) if place != survivor}
            self.assertEqual(self.value_at(OUTSIDER, within_s=1.5), b"value", hex(survivor))

    def test_whoever_stood_still_hears_them_all_again(self) -> None:
        """What arrives just then may have waited, and is not counted; nor is it the silence of those who said it: a
        copy from another time behind them, and who has put that, do not stand in for them.
        """
        self.put_and_wait(0x2000, value=b"older")
        self.put_and_wait(0x1000, value=b"newer")
        oldest = replace(self.record(value=b"oldest"), version=Version(WALL_MS, peer(0x2000).packed))
        self.keep(0x7000, oldest)
        link = self.ring.node(OUTSIDER).link
        link.pause()
        self.ring.pass_time(6)
        link.resume()
        reads = []
        for _ in range(25):
            reads.append(self.get(OUTSIDER))
            self.ring.pass_time(DELAY_S)
        self.ring.pass_time(5)
        values = {None if record is None else record.value for record in map(self.successResultOf, reads)}
        self.assertEqual(values, {b"newer"})

    def test_not_found_by_one_is_not_final(self) -> None:
        """A replica that lost its copy is asked, and the value is found at another."""
        for place in (0x3000, 0x4000, 0x5000):
            self.ring.node(place).records.local_records.remove(KEY)
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.5), b"value")

    def test_nothing_is_said_after_a_fresh_search(self) -> None:
        """When all replicas that we know say no, the way is searched once more, and the new ones are asked."""
        missing = key_in(OWNED, 3)
        read = self.get(OUTSIDER, missing)
        self.ring.pass_time(1)
        self.assertIsNone(self.successResultOf(read))
        self.assertEqual(self.ring.node(OUTSIDER).searches, 1)
        self.assertEqual(len({to for to, _ in self.ring.node(OUTSIDER).questions(Fetch)}), 4)

    def test_what_proves_itself_is_read_quickly(self) -> None:
        """A quick search suffices for content and for a signed record."""
        self.ring.knows_routes = False
        content = sha256(b"content").digest()
        self.put_and_wait(0x1000, content, b"content")
        self.put_and_wait(0x1000, SIGNED_KEY, b"signed", seal=seal(1, b"signed"))  # type: ignore[arg-type]
        for key, value in ((content, b"content"), (SIGNED_KEY, b"signed")):
            self.ring.node(OUTSIDER).searched.clear()
            self.assertEqual(self.value_at(OUTSIDER, key), value)
            self.assertEqual(self.ring.node(OUTSIDER).searched, [Quality.QUICK])

    def test_a_plain_value_is_verified(self) -> None:
        """While its replicas are asked witnesses say whether they are the right ones; nobody is asked twice."""
        self.ring.knows_routes = False
        self.assertEqual(self.value_at(OUTSIDER, within_s=2 * ROUND_TRIP_S + 2 * ROUND_TRIP_S), b"value")
        self.assertEqual(self.ring.node(OUTSIDER).searched, [Quality.QUICK, Quality.VERIFIED])
        self.assertEqual(self.questions_of(OUTSIDER, Fetch), 3)

    def test_a_slow_guess(self) -> None:
        """Half a second is enough for a quick search: who is silent on its way holds a read up no longer."""
        self.ring.knows_routes = False
        self.ring.node(OUTSIDER).guess_s = 4.0
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.5 + 4 * ROUND_TRIP_S), b"value")

    def test_verified_late(self) -> None:
        """What the replicas have said is no "there is none" while the search for witnesses takes long: peers on its way
        may be dead, one behind another.
        """
        self.ring.knows_routes = False
        self.ring.verifying_s = 2 * HEDGES_MAX * HEDGE_AFTER_S
        read = self.get(OUTSIDER)
        self.ring.pass_time(self.ring.verifying_s - 1)
        self.assertNoResult(read)
        self.ring.pass_time(2)
        self.assertEqual(cast(Record, self.successResultOf(read)).value, b"value")

    def test_never_verified(self) -> None:
        """A search that does not end in time ends the read all the same."""
        self.ring.knows_routes = False
        self.ring.verifying_s = 2 * UNVERIFIED_HEDGES_MAX * HEDGE_AFTER_S
        read = self.get(OUTSIDER)
        self.ring.pass_time(UNVERIFIED_HEDGES_MAX * HEDGE_AFTER_S + 1)
        self.failureResultOf(read, Unreachable)

    def test_a_wrong_guess(self) -> None:
        """What a liar's members say of a plain key, or that there is none, counts for nothing."""
        self.ring.knows_routes = False
        for lie in (b"forged", None):
            reader = self.ring.node(OUTSIDER)
            reader.guess = [peer(place) for place in (0x1000, 0x2000, 0x7000)]
            for place in (0x1000, 0x2000, 0x7000):
                if lie is not None:
                    self.keep(place, self.record(WALL_MS + 5000, lie))
                else:
                    self.ring.node(place).records.local_records.remove(KEY)
                self.ring.lies[peer(place)] = partial(self.says_of_its_own, place)
            self.assertEqual(self.value_at(OUTSIDER, within_s=1), b"value")

    def says_once(self, words: list[Answer], place: int, question: Question) -> Answer | None:
        """Words of a member one by one, and what it keeps when there are no more."""
        return words.pop() if words and isinstance(question, Fetch) else self.says_of_its_own(place, question)

    def says_of_its_own(self, place: int, question: Question) -> Answer | None:
        """What a member keeps of a key that is not its own."""
        if not isinstance(question, Fetch):
            return None
        kept = self.ring.node(place).records.local_records.get(question.key)
        if kept is None:
            return NotFound()
        body = body_of(kept, int(self.ring.clock.seconds() * 1000))
        return Found(body if question.value else replace(body, value=sha256(body.value).digest()))

    def test_found_where_a_stale_route_does_not_lead(self) -> None:
        """All members we knew of there are gone; others have taken over and have it."""
        reader = self.ring.node(OUTSIDER)
        reader.view = [peer(place) for place in (0x1000, 0x2000, 0x7000, OUTSIDER)]
        self.assertEqual(self.value_at(OUTSIDER, within_s=1), b"value")

    def test_few_where_a_stale_route_leads(self) -> None:
        """Of whom we took for the replicas one is left, which keeps what was replaced since, and one that never had it;
        who put that has gone: the ring is searched before an older value is believed.
        """
        old = replace(self.record(value=b"replaced"), version=Version(WALL_MS - 60_000, peer(0x2000).packed))
        self.keep(0x7000, old)
        self.ring.refusing |= {peer(0x2000), peer(0x1000)}
        self.ring.lies[peer(0x7000)] = partial(self.says_of_its_own, 0x7000)
        self.ring.node(OUTSIDER).view = [peer(place) for place in (0x1000, 0x2000, 0x7000, OUTSIDER)]
        self.assertEqual(self.value_at(OUTSIDER, within_s=2), b"value")

    def test_what_was_said_elsewhere_counts_no_more(self) -> None:
        """Whatever those have said that a stale route names, however late: those whom the search finds are asked."""
        old = replace(self.record(value=b"replaced"), version=Version(WALL_MS - 60_000, peer(0x0123).packed))
        self.keep(0x7000, old)
        self.ring.refusing.add(peer(0x0123))
        for place, late_s in ((0x7000, 0.0), (0x1000, 0.27), (0x2000, 0.6)):
            self.ring.slow_s[peer(place)] = late_s
            self.ring.lies[peer(place)] = partial(self.says_of_its_own, place)
        self.ring.lies[peer(0x1000)] = lambda question: Stored() if isinstance(question, Fetch) else None
        self.ring.node(OUTSIDER).view = [peer(place) for place in (0x1000, 0x2000, 0x7000, OUTSIDER)]
        self.assertEqual(self.value_at(OUTSIDER, within_s=2), b"value")

    def test_a_stale_owner_names_the_true_one(self) -> None:
        """Who owns the key now is searched for, and asked."""
        self.ring.join(0x2FFF)
        self.ring.pass_time(10)
        key = key_in(Arc(at(0x2000), at(0x2FFF)))
        self.put_and_wait(0x1000, key)
        self.ring.node(OUTSIDER).view = [peer(place) for place in EIGHT]
        self.assertEqual(self.value_at(OUTSIDER, key, within_s=4 * ROUND_TRIP_S + A_MOMENT_S), b"value")

    def test_no_owner_by_anothers_word(self) -> None:
        """Whom a replica names before itself is no replica for that, where no search names him: else one liar and an
        address that belongs to no member would be most of three.
        """
        for liar, accomplice in ((0x3000, 0x2FFF), (0x4000, 0x3800)):
            self.ring = RecordRing(*EIGHT, replication=3)
            self.put_and_wait(0x1000)
            self.ring.add(accomplice)
            self.ring.forget(accomplice)
            self.ring.refusing.add(peer(0x0123))
            forged = replace(self.record(value=b"forged"), version=Version(WALL_MS + 5000, peer(0x0123).packed))
            for place in (liar, accomplice):
                self.keep(place, forged)
                self.ring.lies[peer(place)] = partial(self.says_of_its_own, place)
            self.ring.lies[peer(liar)] = partial(self.says_once, [NotMine(peer(accomplice).packed)], liar)
            self.assertEqual(self.value_at(OUTSIDER, within_s=1), b"value")
            self.assertNotIn(peer(accomplice), [to for to, _ in self.ring.node(OUTSIDER).asked])

    def test_ends_within_five_seconds(self) -> None:
        """When nobody answers at all it is given up; that nobody knows is said, not that there is nothing."""
        for place in EIGHT[:-1]:
            self.ring.silent.add(peer(place))
        read = self.get(OUTSIDER)
        self.ring.pass_time(4.9)
        self.assertNoResult(read)
        self.ring.pass_time(0.2)
        self.assertIn(TOO_FEW, str(self.failureResultOf(read, Unreachable).value))

    def test_what_was_put_here_is_read_when_nobody_answers(self) -> None:
        """Until it is confirmed; and it can be deleted here."""
        for place in EIGHT[:-1]:
            self.ring.silent.add(peer(place))
        put = self.put(OUTSIDER, value=b"put here")
        self.assertEqual(self.value_at(OUTSIDER, within_s=5.1), b"put here")
        deleted = self.ring.node(OUTSIDER).records.delete(KEY)
        self.ring.pass_time(5.1)
        self.failureResultOf(put, Refused)
        self.assertNoResult(deleted)
        self.assertIsNone(self.value_at(OUTSIDER, within_s=5.1))

    def test_a_node_that_stops_does_not_say_that_there_is_nothing(self) -> None:
        """What it reads just then fails."""
        for place in EIGHT[:-1]:
            self.ring.silent.add(peer(place))
        read = self.get(OUTSIDER)
        self.ring.pass_time(1)
        self.ring.node(OUTSIDER).records.stop()
        self.failureResultOf(read, Unreachable)

    def test_a_node_cut_off_serves_what_it_holds(self) -> None:
        """No member any more, and nobody to ask: its own copy is better than nothing."""
        holder = self.ring.node(0x5000)
        holder.is_member = False
        holder.records.ring_changed()
        for place in EIGHT:
            self.ring.silent.add(peer(place))
        self.assertEqual(self.value_at(0x5000, within_s=5.1), b"value")

    def test_a_member_again_within_the_read_is_found(self) -> None:
        """The ring heals while the reader waits: the new owner has a copy."""
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.silent.add(peer(place))
        self.keep(0x7000, self.record())
        read = self.get(OUTSIDER)
        self.ring.pass_time(2)
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.ring.forget(place)
        self.ring.pass_time(2)
        record = self.successResultOf(read)
        assert record is not None
        self.assertEqual(record.value, b"value")

    def test_the_newest_wins_and_those_behind_get_it(self) -> None:
        """Replicas that disagree are repaired by the read, with its remaining life."""
        newer = self.record(ms=WALL_MS + 30_000, value=b"newer", ttl_s=100)
        for place in (0x4000, 0x5000, 0x6000):
            self.keep(place, newer)
        self.assertEqual(self.value_at(OUTSIDER), b"newer")
        self.assertEqual(self.ring.value(0x3000, KEY), b"newer")
        repaired = self.ring.node(0x3000).records.local_records.get(KEY)
        assert repaired is not None
        self.assertLess(abs(repaired.expiry_ms - newer.expiry_ms), 100)

    def test_a_newer_one_that_one_replica_has(self) -> None:
        """Its publisher confirms it; of one that it has not put nothing is read, and nothing spread."""
        forged = Version(WALL_MS + 40_000, peer(0x1000).packed)
        self.keep(0x5000, replace(self.record(value=b"forged"), version=forged))
        self.assertEqual(self.value_at(OUTSIDER), b"value")
        self.assertEqual([self.ring.value(place, KEY) for place in (0x3000, 0x4000, 0x6000)], [b"value"] * 3)
        self.ring.lose = lambda asker, asked, question: isinstance(question, Store) and asked != peer(0x6000)
        self.put(0x1000, value=b"newest")
        self.ring.pass_time(ROUND_TRIP_S)
        self.assertEqual(self.value_at(OUTSIDER, within_s=0.2), b"newest")

    def test_a_replica_changes_the_value_alone(self) -> None:
        """A version is one value: whoever has another one with it is out."""
        true = self.ring.node(0x3000).records.local_records.get(KEY)
        assert true is not None
        self.ring.node(0x3000).store.put(replace(true, value=b"forged"))
        self.assertEqual(self.value_at(OUTSIDER), b"value")

    def test_the_last_copy_of_what_was_replaced(self) -> None:
        """A replica that was away keeps it a little beyond its end; those that know better remember for longer."""
        away = self.ring.node(0x6000)
        for older_s, newer_s in ((30, 10), (30, 29)):
            key = key_in(OWNED, older_s + newer_s)
            self.put_and_wait(0x1000, key, b"older", ttl_s=older_s)
            older = away.records.local_records.get(key)
            assert older is not None
            away.store.put(replace(older, expiry_ms=older.expiry_ms + 1_500))
            self.ring.lose = lambda asker, asked, question: peer(0x6000) in (asker, asked)
            self.put_and_wait(0x1000, key, b"newer", ttl_s=newer_s)
            left_s = (older.expiry_ms - away.records.local_records.now_ms()) / 1_000
            self.ring.pass_time(left_s + 0.5)
            self.ring.lose = lambda asker, asked, question: False
            kept = away.records.local_records.get(key)
            assert isinstance(kept, Record)
            self.assertEqual(kept.value, b"older")
            self.assertIsNone(self.value_at(OUTSIDER, key, within_s=0.5))

    def test_one_who_lacks_it_always_is_not_sent_it_by_every_read(self) -> None:
        """A hot key does not flood a replica that does not take it."""
        for _ in range(5):
            self.ring.node(0x4000).records.local_records.remove(KEY)
            self.value_at(OUTSIDER, within_s=1)
        self.assertEqual(self.questions_of(OUTSIDER, Store), 1)

    def test_nonsense_is_as_good_as_silence(self) -> None:
        """A replica with a record that does not prove what it says is passed over."""
        self.ring.node(0x3000).store.put(replace(self.record(), kind=RecordKind.CONTENT))
        self.assertEqual(self.value_at(OUTSIDER), b"value")

    def test_a_node_with_a_slow_clock_reads_all_the_same(self) -> None:
        """What others stored is not from the future because our clock is two minutes behind."""
        self.ring.node(OUTSIDER).skew_ms = -120_000
        self.assertEqual(self.value_at(OUTSIDER), b"value")

    def test_a_get_after_a_get_is_not_older(self) -> None:
        """A put that follows a get through the same node is newer than what was read."""
        newer = self.record(ms=WALL_MS + 40_000, value=b"newer")
        for place in (0x3000, 0x4000, 0x5000, 0x6000):
            self.keep(place, newer)
        self.value_at(OUTSIDER)
        result = self.put_and_wait(OUTSIDER, value=b"newest")
        self.assertGreater(result.version, newer.version)

    def test_a_verdict_given_up(self) -> None:
        """Whoever is ending, and asks no more what stands there, is told nothing: nobody waits for an error."""
        for passed_s in (0.0, ROUND_TRIP_S):
            asked = self.ring.node(OUTSIDER).records.reader.judge(KEY)
            self.ring.silent.add(peer(0x4000))
            self.ring.pass_time(passed_s)
            asked.cancel()
            self.assertIsNone(self.successResultOf(asked))

    def test_a_read_given_up_stops(self) -> None:
        """Cancelling it ends its timer."""
        before = self.ring.pending()
        read = self.get(OUTSIDER)
        read.addErrback(lambda failure: None)
        read.cancel()
        self.ring.pass_time(ROUND_TRIP_S + A_MOMENT_S)
        self.assertEqual(self.ring.pending(), before)
