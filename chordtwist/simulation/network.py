"""A simulated network: it gives each node its link to the others, and has every fault that a real one has.

A question and its answer are two messages, each with a delay of its own, passed on as the objects they are; their bytes
are counted as real frames would have them. Without faults the time an answer takes is known when the question is put,
so a time limit costs nothing: either the answer is scheduled or the failure. With faults (`faults`) every message is
shown to their rules. Messages overtake one another freely, more than TCP lets them: whatever holds here holds there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from twisted.python.failure import Failure

from chordtwist.core.errors import Malformed, Unreachable, Untruthful
from chordtwist.core.peer import Peer
from chordtwist.core.prefixes import owner_of
from chordtwist.simulation.chance import QUANTILES, QUANTILES_BITS, Delays, exponential
from chordtwist.simulation.clock import HeapClock, microseconds
from chordtwist.simulation.faults import Envelope, Path
from chordtwist.simulation.installed_faults import InstalledFaults
from chordtwist.simulation.link import LINK_IDLE_US, Asked, SimulatedLink
from chordtwist.simulation.prices import price_s
from chordtwist.simulation.trace import Trace
from chordtwist.wire.frames import OPENING_BYTES, FrameReader, pack_frame
from chordtwist.wire.peer_messages import (
    BODY_BYTES_MAX,
    Answer,
    Goodbye,
    Hello,
    Message,
    Question,
    decode,
    encode,
)

HANDSHAKE_ROUND_TRIPS = 2
"""TCP, then TLS 1.3; the Hellos travel with the first question and answer."""

CONTINENT = exponential(5_000, 30_000)
"""Delays, one way, between hosts of one continent: 5 ms and a tail, 30 ms on average."""

_DRAW_MASK = QUANTILES - 1

_ASKED, _ANSWERED, _FAILED, _CRASHED, _ENDED, _STARTED = 1, 2, 3, 4, 5, 6
"""What the words of the trace tell."""


class SimulatedNetwork:
    """All links between all hosts. Hosts are named by their `Peer`."""

    def __init__(self, clock: HeapClock, rng: Random, trace: Trace, delays: Delays = CONTINENT) -> None:
        self.clock = clock
        self.trace = trace
        self.path = Path(delays)
        self.faults = InstalledFaults(clock, rng, self.path)
        self.bytes_by_kind = [0] * 256
        """Plaintext bytes written, by kind of message."""
        self.bytes_by_part: Counter[str] = Counter()
        """The same, answers and Hellos included, by the part of the node that asked."""
        self.failed = 0
        """Questions that ended without an answer."""
        self.through_wire = False
        """Whether every message really becomes bytes and is read back: three times slower, and nothing slips through
        that a frame could not carry."""
        self.misled: Callable[[Peer, Peer, str], None] | None = None
        """Told when a question broke the protocol: who asked, who was asked, and what."""
        self._rng = rng
        self._listening: dict[bytes, SimulatedLink] = {}
        self._indexes: dict[bytes, int] = {}
        self._dark: dict[bytes, None] = {}
        self._limits_us: dict[int, int] = {}

    # Hosts

    def link(self, peer: Peer, public: bytes) -> SimulatedLink:
        """Make the link of a process that is to start at `peer` with the key `public`; deaf before `listen`."""
        return SimulatedLink(self, peer, public, self._indexes.setdefault(peer.packed, len(self._indexes)))

    def traffic_bytes(self) -> int:
        """All plaintext bytes written up to now."""
        return sum(self.bytes_by_kind)

    # Messages

    def _count(self, message: Message, part: str) -> None:
        length = OPENING_BYTES + len(encode(message))
        self.bytes_by_kind[message.kind] += length
        self.bytes_by_part[part] += length

    def _read_back(self, message: Message) -> Message:
        reader = FrameReader(BODY_BYTES_MAX)
        reader.feed(pack_frame(message.kind, 0, encode(message)))
        kind, _, body = next(reader.frames())
        return decode(kind, body)

    def _delay_us(self) -> int:
        return self.path.delays[self._rng.getrandbits(QUANTILES_BITS)]

    def _limit_of(self, question: Question) -> int:
        limit = self._limits_us.get(question.kind)
        if limit is None:
            limit = self._limits_us[question.kind] = microseconds(question.answer_within_s)
        return limit

    def send(self, asked: Asked) -> None:
        """Put a question on its way."""
        question, asker, clock, delays = asked.question, asked.asker, self.clock, self.path.delays
        now_us = clock.now_us
        self._count(question, asked.part)
        drawn = self._rng.getrandbits(2 * QUANTILES_BITS)
        there_us, back_us = delays[drawn & _DRAW_MASK], delays[drawn >> QUANTILES_BITS]
        asked.limit_us = limit_us = now_us + self._limit_of(question)
        asked.to = to = self._listening.get(asked.peer.packed)
        if to is None:
            self._send_to_nobody(asked, now_us + there_us + back_us)
            return
        last_us = asker.links.get(to)
        if last_us is None or now_us - last_us > LINK_IDLE_US:
            there_us += HANDSHAKE_ROUND_TRIPS * (there_us + back_us)
            asker.greet(to, asked.part)
        elif now_us - last_us > 1_000_000:
            asker.links[to] = to.links[asker] = now_us
        if self.through_wire:
            asked.question = self._read_back(question)  # type: ignore[assignment]
        if self.faults.installed:
            self._send_through_faults(asked, there_us if last_us is None else 0)
            return
        asked.back_us = back_us
        arrives_us = now_us + there_us
        if arrives_us + back_us > limit_us:
            asked.timed = True
            clock.at(limit_us, self._silent, asked)
        clock.at(arrives_us, self.deliver, asked)

    def _send_to_nobody(self, asked: Asked, told_us: int) -> None:
        """No process listens there: the host says so, which is known at `told_us`, if it has power and is in reach."""
        if asked.peer.packed in self._dark or self.faults.severs(asked.asker.me, asked.peer):
            self.clock.at(asked.limit_us, self._silent, asked)
        else:
            self.clock.at(min(told_us, asked.limit_us), self._refused, asked)

    def _send_through_faults(self, asked: Asked, handshake_us: int) -> None:
        asked.timed = True
        self.clock.at(asked.limit_us, self._silent, asked)
        envelope = Envelope(asked.asker.me, asked.peer, asked.question)
        for number, (late_us, holder) in enumerate(self.faults.fates(envelope)):
            self.faults.post(late_us + handshake_us, holder, self.deliver, asked if number == 0 else asked.echo())

    def deliver(self, asked: Asked) -> None:
        """Deliver a question to the process that is asked."""
        to = asked.to
        assert to is not None
        if to.ended:
            self._lose(asked)
            return
        clock = self.clock
        if to.clock.held is not None:
            to.clock.held.append((self.deliver, asked))
            self._limit(asked)
            return
        costs, asker = to.costs, asked.asker
        payer = costs.payer_of(owner_of(asker.me), asker.me.packed in to.keys, asked.question.is_upkeep)
        wait_s = costs.wait_s(payer)
        if wait_s > 0:
            self._limit(asked)
            clock.at(clock.now_us + microseconds(wait_s) + 1, self.deliver, asked)
            return
        before = costs.switch(payer)
        to.spent_s += price_s(asked.question)
        costs.switch(before)
        words = self.trace.words
        words.append(clock.now_us << 16 | asked.question.kind << 8 | _ASKED)
        words.append(asker.index << 32 | to.index)
        try:
            answer = to.answerer.answer(asker.me, asked.question)
        except (Malformed, Untruthful) as error:
            self._break(asked, str(error))
        else:
            if isinstance(answer, Answer):
                self._send_back(asked, answer)
            else:
                # The two have greeted: whose key it is, is known also of one that never answers.
                asker.keys[asked.peer.packed] = to.public
                to.answering[asked] = None
                answer.addCallbacks(self._answered, self._not_answered, callbackArgs=(asked,), errbackArgs=(asked,))
                if asked in to.answering:
                    self._limit(asked)
        after = to.clock.after
        if after is not None:
            after()

    def _answered(self, answer: Answer, asked: Asked) -> None:
        to = asked.to
        if to is not None and not to.ended:
            to.answering.pop(asked, None)
            self._send_back(asked, answer)

    def _not_answered(self, failure: Failure, asked: Asked) -> None:
        to = asked.to
        if to is not None and not to.ended:
            to.answering.pop(asked, None)
            failure.trap(Malformed, Untruthful)
            self._break(asked, failure.getErrorMessage())

    def _send_back(self, asked: Asked, answer: Answer) -> None:
        self._count(answer, asked.part)
        if asked.deferred is None:
            return
        asked.answer = self._read_back(answer) if self.through_wire else answer  # type: ignore[assignment]
        if self.faults.installed:
            self._limit(asked)
            for late_us, holder in self.faults.fates(Envelope(asked.peer, asked.asker.me, answer)):
                self.faults.post(late_us, holder, self.arrive, asked)
        else:
            if not asked.back_us:  # it was put when there were faults
                asked.back_us = self._delay_us()
            self.clock.at(self.clock.now_us + asked.back_us, self.arrive, asked)

    def arrive(self, asked: Asked) -> None:
        """Deliver an answer to whoever asked."""
        deferred = asked.deferred
        asker = asked.asker
        if deferred is None or asker.ended:
            return
        if asker.clock.held is not None:
            asker.clock.held.append((self.arrive, asked))
            return
        to, answer = asked.to, asked.answer
        assert to is not None and answer is not None
        asked.deferred = None
        packed = asked.peer.packed
        if asker.keys.get(packed) is not to.public:
            asker.keys[packed] = to.public
        words = self.trace.words
        words.append(self.clock.now_us << 16 | answer.kind << 8 | _ANSWERED)
        words.append(to.index << 32 | asker.index)
        deferred.callback(answer)
        after = asker.clock.after
        if after is not None:
            after()

    # Failures

    def _limit(self, asked: Asked) -> None:
        """From here on it is not known whether the answer comes in time."""
        if not asked.timed and asked.deferred is not None:
            asked.timed = True
            self.clock.at(max(asked.limit_us, self.clock.now_us), self._silent, asked)

    def _silent(self, asked: Asked) -> None:
        self._fail(asked, "no answer in time")

    def _refused(self, asked: Asked) -> None:
        self._fail(asked, "connection refused")

    def _lost(self, asked: Asked) -> None:
        self._fail(asked, "the link was lost")

    def _lose(self, asked: Asked) -> None:
        """Fail a question whose process is gone: its host says so, if it has power and is in reach."""
        if asked.deferred is None:
            return
        if asked.peer.packed in self._dark or self.faults.severs(asked.peer, asked.asker.me):
            self._limit(asked)
        else:
            self.clock.at(self.clock.now_us + self._delay_us(), self._lost, asked)

    def _break(self, asked: Asked, reason: str) -> None:
        """End the link over which a question came that broke the protocol."""
        to = asked.to
        assert to is not None
        if self.misled is not None:
            self.misled(asked.asker.me, asked.peer, reason)
        self._count(Goodbye(reason[:100]), asked.part)
        to.links.pop(asked.asker, None)
        asked.asker.links.pop(to, None)
        self._lose(asked)
        to.answerer.breach(asked.asker.me, reason)

    def _fail(self, asked: Asked, reason: str) -> None:
        deferred, asker = asked.deferred, asked.asker
        if deferred is None or asker.ended:
            return
        if asker.clock.held is not None:
            asker.clock.held.append((lambda asked: self._fail(asked, reason), asked))
            return
        asked.deferred = None
        self.failed += 1
        words = self.trace.words
        words.append(self.clock.now_us << 16 | asked.question.kind << 8 | _FAILED)
        words.append(asker.index)
        deferred.errback(Failure(Unreachable(asked.peer, reason)))
        after = asker.clock.after
        if after is not None:
            after()

    # What links tell it

    def opened(self, link: SimulatedLink) -> None:
        self._listening[link.me.packed] = link
        self._dark.pop(link.me.packed, None)
        self._word(link, _STARTED)

    def ended(self, link: SimulatedLink, crashed: bool, dark: bool) -> None:
        """Tell the peers of a process that ended, as their hosts learn of it."""
        if self._listening.get(link.me.packed) is link:
            del self._listening[link.me.packed]
        if dark:
            self._dark[link.me.packed] = None
        self._word(link, _CRASHED if crashed else _ENDED)
        now_us = self.clock.now_us
        for other, last_us in link.links.items():
            other.links.pop(link, None)
            if dark or other.ended or now_us - last_us > LINK_IDLE_US or self.faults.severs(link.me, other.me):
                continue
            if crashed:
                self.clock.at(now_us + self._delay_us(), other.tell_lost, link.me)
            else:
                self._count(_GOODBYE, _SAYS_GOODBYE)
        link.links = {}
        for asked in link.answering:
            self._lose(asked)
        link.answering = {}

    def is_linked(self, link: SimulatedLink, peer: Peer) -> bool:
        """Say whether a link to `peer` stands."""
        other = self._listening.get(peer.packed)
        return other is not None and self.clock.now_us - link.links.get(other, -LINK_IDLE_US) < LINK_IDLE_US

    def end_link(self, link: SimulatedLink, peer: Peer) -> None:
        """End the link to `peer`, since nobody needs it."""
        other = self._listening.get(peer.packed)
        if other is not None and link.links.pop(other, None) is not None:
            other.links.pop(link, None)
            self._count(_IDLE, _SAYS_GOODBYE)

    def _word(self, link: SimulatedLink, what: int) -> None:
        self.trace.words.append(self.clock.now_us << 16 | what)
        self.trace.words.append(link.index)

    def greeted(self, part: str) -> None:
        """Two Hellos crossed."""
        self.bytes_by_kind[Hello.kind] += 2 * _HELLO_BYTES
        self.bytes_by_part[part] += 2 * _HELLO_BYTES


_HELLO_BYTES = OPENING_BYTES + len(
    encode(Hello(1, 1, "chordtwist", "IP", 16, 4, 3000, bytes(6), bytes(32), 1 << 40, 1 << 16, 1 << 40, bytes(64)))
)
_GOODBYE, _IDLE = Goodbye("closing"), Goodbye("idle")
_SAYS_GOODBYE = "goodbyes"
"""What bytes of Goodbyes are counted under."""
