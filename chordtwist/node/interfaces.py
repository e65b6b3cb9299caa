"""The seams of a node: what it needs of a network, of a store, and what doors need of it.

Each has a contract test in ``tests/contracts.py`` that every implementer passes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from chordtwist.core.lookup import Quality
from chordtwist.core.peer import Peer
from chordtwist.wire.peer_messages import Answer, Question

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chordtwist.core.lookup import Route
    from chordtwist.core.records import Entry, PutResult, Record, Seal, Versioned
    from chordtwist.core.ring import Arc, RingId


class IPeerLink(Interface):
    """What a node needs of a network: ask a peer, get its answer or know that there is none."""

    def ask(peer: Peer, question: Question) -> Deferred[Answer]:
        """Ask `peer`; a link is dialled when there is none.

        The Deferred fires with the peer's answer, which only ever comes from a proved peer: one that our own dial met
        at that address. It fails with `Unreachable` when there is no answer within the question's `answer_within_s`,
        at once when the address refuses us or the link is lost, and with `Untruthful` or `Malformed` when the peer
        broke the protocol. Cancelling it gives up waiting. Nothing fires before `ask` has returned.
        """

    def ask_once(peer: Peer, question: Question) -> Deferred[Answer]:
        """Ask a `peer` that will not be asked more: as `ask`, but a link that is dialled for it ends with it."""

    def key_of(peer: Peer) -> bytes | None:
        """Look up the Ed25519 key that `peer` was last proved with; None when it was never proved."""


class IAnswer(Interface):
    """What a network needs of a node: its answers, and somebody to tell what happened to links."""

    def answer(peer: Peer, question: Question) -> Answer | Deferred[Answer]:
        """Answer a question that came from `peer`: where the other side *claims* to be, proved or not.

        @raise Malformed, Untruthful: the question breaks the protocol; the link it came over ends.
        """

    def link_lost(peer: Peer, reason: str) -> None:
        """Hear that the last link with a proved peer ended without a `Goodbye`: perhaps it crashed."""

    def breach(peer: Peer, reason: str) -> None:
        """Hear that a proved peer broke the protocol, and that its link was ended."""


class IRing(Interface):
    """What replication needs of its node: where it stands on the ring, and who keeps what."""

    me = Attribute("This node's own `Peer`.")
    identity = Attribute("The `Identity` of its network, which turns packed addresses into peers.")
    is_member = Attribute("Whether it is a member of the ring now.")
    predecessor = Attribute("The nearest known live `Peer` counter-clockwise, or None.")
    successors = Attribute("Tuple of `Peer`, nearest first; empty when alone.")

    def ask(peer: Peer, question: Question) -> Deferred[Answer]:
        """Ask `peer`, as `IPeerLink.ask` does, and note what that says of its life; `me` answers at once, itself."""

    def known_route(position: RingId) -> Route | None:
        """Who keeps `position` as far as is known without asking anybody, or None. May be stale; costs microseconds."""

    def find(position: RingId, quality: Quality = Quality.VERIFIED) -> Deferred[Route]:
        """Search the ring afresh for who keeps `position`: a quick search where what is read there proves itself, else,
        and by default, a verified one. Fails with `Unreachable` when nobody can be asked.
        """

    def neighbours_time_ms() -> int:
        """Our wall time, or that of most neighbours where ours is wrong by more than half a minute."""


class IRecordStore(Interface):
    """Where one node keeps its copies. Reads answer at once, and see what was put a moment ago."""

    def put(versioned: Versioned) -> Deferred[None]:
        """Keep a record or a tombstone in place of whatever is kept under its key; the caller has decided that it wins.

        The Deferred fires when it is safe (on disk, where there is one) and fails with `StoreFull`.
        """

    def under_way(key: bytes) -> Deferred[None] | None:
        """While what is kept under `key` is not safe yet: fires, or fails, as its put does. None when it is."""

    def get(key: bytes) -> Versioned | None:
        """Read what is kept under `key`: a record, a tombstone, or nothing. May be past its expiry: the caller looks.

        None also where something is kept that cannot be read any more: `entry` has it until the caller removes it.
        """

    def entry(key: bytes) -> Entry | None:
        """Look up the entry of what is kept under `key`, without its value; never touches a disk."""

    def remove(key: bytes) -> None:
        """Keep nothing under `key` any more."""

    def scan(arc: Arc) -> Iterator[Entry]:
        """Yield what is kept in `arc`, in the order of positions, without values. Stays right while the store is
        changed.
        """

    def expired(now_ms: int) -> list[Versioned]:
        """List what is past its expiry at `now_ms`, at most a batch of it."""

    def records() -> int:
        """How many records are kept; tombstones do not count."""

    def record_bytes() -> int:
        """Bytes of their values."""

    def tombstones() -> int:
        """How many tombstones are kept."""

    def close() -> Deferred[None]:
        """Everything that was put is safe when this fires; nothing may be called after it."""


class IDht(Interface):
    """What doors (course API, HTTP, a program's own code) need of a node: a hash table, and its state."""

    def put(
        key: bytes,
        value: bytes,
        ttl_s: float | None = None,
        copies: int | None = None,
        seal: Seal | None = None,
    ) -> Deferred[PutResult]:
        """Store `value` under `key` (32 bytes) for `ttl_s` seconds from now (cut to the maximum; None: the default).

        `get` on this node sees it when this returns. Fires with a `PutResult` once a majority of the copies is
        confirmed; fails with `Refused` when a newer or better record stands, and with `Unreachable` when too
        few answer.
        """

    def get(key: bytes) -> Deferred[Record | None]:
        """Read the live `Record` under `key`; None when none of its replicas has one. Bounded in time; fails with
        `Unreachable` when too few of them answer to know.
        """

    def delete(key: bytes, seal: Seal | None = None) -> Deferred[PutResult]:
        """Put an end to the record under `key`; like `put`, fires with a `PutResult`."""

    def status() -> dict[str, object]:
        """Tell the node's state as plain values, ready for JSON: the fields of ``chordtwist status --json``."""

    def leave() -> Deferred[None]:
        """Hand the records over, tell the neighbours, stop. Fires when done, within a bounded time; never fails."""
