"""The tables of other nodes: asked for, verified once, and remembered for a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chordtwist.core.address_book import AddressBook
from chordtwist.core.bounded import Bounded
from chordtwist.core.errors import Malformed, NotDialled, Unreachable, Untruthful
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.signed import Stamp, Status, Verify, unpack_status, unpack_table
from chordtwist.core.table import Table
from chordtwist.core.versions import TIME_MS_MAX
from chordtwist.wire.peer_messages import Answer, GetTable, Leave, NotMember, Question, Same, TableIs

TABLES_MAX = 1024
"""Tables one node remembers; the oldest go first. Half a megabyte, and 42 MiB where all are as long as they may be."""

STATUSES_MAX = 256
"""Peers that are no members whose last word is remembered, so that an older one, said again, is not news; the oldest go
first. Their next run is known by its table. More would be a list of all who ever left."""

FIRST_QUESTION = GetTable(0, 0)
"""To a peer whose table we do not hold."""

CLOCK_KNOWN_S = 1800.0
"""A table tells the time of its owner for so long: `Same`, which it is answered with while nothing in it changes, does
not."""


HEARD_AGAIN_S = 60.0
"""A table that stays the same names its entries again for the address book so often at most."""


class NoMember(Unreachable):
    """The peer answered, but it is not a member of the ring: it joins or leaves."""

    def __init__(self, peer: Peer, status: Status, epoch: int) -> None:
        super().__init__(peer, status.name.lower())
        self.status = status
        self.epoch = epoch


class Known(NamedTuple):
    """A table at hand, verified, and the question that tells which we hold.

    `ahead_ms`: by how much its owner's wall clock is ahead of our steady one, or up to `TABLE_FRESH_MS` more; None when
    it shows a time that no clock has. `shown_s`: when the peer said last that this is its table. `since_s`: when this
    run of it showed one first.
    """

    table: Table
    question: GetTable
    ahead_ms: int | None
    taken_s: float
    shown_s: float
    since_s: float


Ask = Callable[[Peer, Question], Deferred[Answer]]


class Tables:
    """Fetches tables through `ask`, and keeps those that were verified.

    A signature is verified once: an answer that says the same costs a comparison. A peer's statements are ordered by
    (epoch, seq); one that is older than what we know never replaces it.
    """

    def __init__(
        self,
        identity: Identity,
        ask: Ask,
        key_of: Callable[[Peer], bytes | None],
        verify: Verify,
        seconds: Callable[[], float],
        entries_max: int,
        spreads: bool = True,
        me: Peer | None = None,
    ) -> None:
        """@param seconds: the steady clock.
        @param entries_max: r, the entries of a successor list; a whole one has twice as many, and its newcomer.
        @param spreads, me: as in `AddressBook`.
        """
        self.book = AddressBook(identity, spreads=spreads, me=me)
        """Whose tables were shown, and whom they name."""
        self.when_shown: Callable[[Table, TableIs], None] = lambda table, said: None
        """Told of every table that was verified, and of how it was signed."""
        self._identity = identity
        self._ask = ask
        self.key_of = key_of
        self._verify = verify
        self._seconds = seconds
        self._listed_max = 2 * entries_max + 1
        self._known: Bounded[Peer, Known] = Bounded(TABLES_MAX)
        self._statuses: Bounded[Peer, tuple[int, int]] = Bounded(STATUSES_MAX)

    def fetch(self, peer: Peer, ask: Ask | None = None, is_caller: bool = False) -> Deferred[Table]:
        """Get the table of `peer` as it is now.

        @param ask: how to ask, where that is not as usual.
        @param is_caller: whether it came to us by itself. Then the address book does not note it: those who come most
        often must not be who is drawn most often.

        Fails with `NoMember` when it joins or leaves, with `Unreachable` when it is silent or says what cannot be.
        """
        known = self._known.get(peer)
        question = FIRST_QUESTION if known is None else known.question
        answered = (ask or self._ask)(peer, question)
        return answered.addCallback(self._take, peer, known, is_caller).addErrback(self._not_shown, peer)

    def fetch_anew(self, peer: Peer) -> Deferred[Table]:
        """Get the table of `peer`, and with it its time, also where nothing has changed."""
        return self._ask(peer, FIRST_QUESTION).addCallbacks(self._take, callbackArgs=(peer, self._known.get(peer)))

    def at_hand(self, peer: Peer) -> Table | None:
        """Look up the table of `peer` as it showed it last, without asking."""
        known = self._known.get(peer)
        return None if known is None else known.table

    def fresh(self, peer: Peer, within_s: float) -> Table | None:
        """Give the table of `peer`, if it showed it, or said that it is still the same, at most `within_s` ago."""
        known = self._known.get(peer)
        return None if known is None or self._seconds() - known.shown_s > within_s else known.table

    def shown_within(self, seconds: float) -> list[Table]:
        """List the tables whose owners showed them, or said that they are still the same, so lately."""
        now = self._seconds()
        return [known.table for known in self._known.values() if now - known.shown_s <= seconds]

    def epoch_of(self, peer: Peer) -> int | None:
        """Look up the epoch of the run of `peer` that we know as a member."""
        table = self.at_hand(peer)
        return None if table is None else table.epoch

    def known_for_s(self, peer: Peer) -> float:
        """Say since how many seconds this run of `peer` is known as a member; 0 where it is not."""
        known = self._known.get(peer)
        return 0.0 if known is None else self._seconds() - known.since_s

    def attesting(self, peer: Peer, known: bytes) -> list[Peer]:
        """List those whose tables at hand name `peer` with the key of that fingerprint."""
        return [teller for teller, shown in self._known.items() if shown.table.names_key(peer, known)]

    def clock_ahead_ms(self, peer: Peer) -> int | None:
        """`Known.ahead_ms` of `peer`, where its table came lately."""
        known = self._known.get(peer)
        return None if known is None or self._seconds() - known.taken_s > CLOCK_KNOWN_S else known.ahead_ms

    def forget(self, peer: Peer) -> None:
        """Forget the table of a peer, since it died, left, or is another run."""
        self._known.pop(peer, None)

    def status_said(self, peer: Peer, said: NotMember | Leave) -> tuple[int, Status] | None:
        """Verify what `peer` says of itself; returns epoch and status, None when that is not newer than what we know of
        it, or signed with another key than it was proved with.

        @raise Untruthful: the statement is another's. @raise Malformed: it is none.
        """
        stamp, status = self._status(peer, said)
        order = (stamp.epoch, stamp.seq)
        known = self._known.get(peer)
        if known is not None and order <= (known.table.epoch, known.table.seq):
            return None
        if known is not None and status is Status.JOINING and stamp.epoch == known.table.epoch:
            return None  # said before it went live in that epoch, and overtaken
        if order < self._statuses.get(peer, order):
            return None
        try:
            self._verified(peer, said.signature, said.body)
        except Untruthful:
            return None  # perhaps it has another key now; it is not believed before our own dial has met that
        self._statuses[peer] = order
        return stamp.epoch, status

    def _not_shown(self, failure: Failure, peer: Peer) -> Failure:
        if failure.check(Unreachable) and not failure.check(NotDialled):
            self.book.failed(peer, self._seconds())
        return failure

    def _take(self, answer: Answer, peer: Peer, known: Known | None, is_caller: bool = False) -> Table:
        if isinstance(answer, Same):
            if known is None:
                raise Unreachable(peer, "it says we hold its table; we do not")
            now = self._seconds()
            if not is_caller:
                self.book.met(peer, now)
                if now - known.shown_s > HEARD_AGAIN_S:
                    self.book.heard(known.table.everybody(), peer, now)
            if self._known.get(peer) is known:
                self._known[peer] = known._replace(shown_s=now)
            return known.table
        try:
            table = self._read(answer, peer, known)
        except (Malformed, Untruthful) as error:
            raise Unreachable(peer, str(error)) from error
        newest = self._known.get(peer)
        if known is not None and table.epoch == known.table.epoch and table.seq < known.table.seq:
            raise Unreachable(peer, "it shows an older table than before")
        if newest is not known and newest is not None and _order(table) < _order(newest.table):
            return newest.table  # this answer was overtaken by a later one
        # In answer to a question put when we knew less, a table of an earlier epoch is that of a later run, whose wall
        # clock is behind that of the run before it.
        if known is not None and table is known.table:
            ahead_ms = known.ahead_ms
        else:
            ahead_ms = table.time_ms - int(self._seconds() * 1000) if table.time_ms <= TIME_MS_MAX else None
        now = self._seconds()
        since_s = now if known is None or known.table.epoch != table.epoch else known.since_s
        self._known[peer] = Known(table, GetTable(table.epoch, table.seq), ahead_ms, now, now, since_s)
        if not is_caller:
            self.book.met(peer, now)
            self.book.heard(table.everybody(), peer, now)
        return table

    def _read(self, answer: Answer, peer: Peer, known: Known | None) -> Table:
        if isinstance(answer, NotMember):
            stamp, status = self._status(peer, answer)
            self._verified(peer, answer.signature, answer.body)
            self.book.forget(peer)
            raise NoMember(peer, status, stamp.epoch)
        if not isinstance(answer, TableIs):
            raise Unreachable(peer, f"it answered GetTable with {type(answer).__name__}")
        table = unpack_table(self._identity, answer.body)
        if known is not None and table == known.table:
            return known.table
        if table.peer != peer:
            raise Untruthful(f"{peer} shows the table of {table.peer}")
        if len(table.successors) > self._listed_max:
            raise Malformed(f"a table with {len(table.successors)} successors")
        self._verified(peer, answer.signature, answer.body)
        self.when_shown(table, answer)
        return table

    def _status(self, peer: Peer, said: NotMember | Leave) -> tuple[Stamp, Status]:
        stamp, status = unpack_status(self._identity, said.body)
        if stamp.peer != peer:
            raise Untruthful(f"{peer} shows a status of {stamp.peer}")
        return stamp, status

    def _verified(self, peer: Peer, signature: bytes, body: bytes) -> None:
        key = self.key_of(peer)
        if key is None or not self._verify(key, signature, body):
            raise Untruthful(f"{peer} shows a statement that its key did not sign")


def _order(table: Table) -> tuple[int, int]:
    return table.epoch, table.seq
