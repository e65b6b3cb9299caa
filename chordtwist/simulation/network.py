"""A simulated network: it gives each node its link to the others, and has every fault that a real one has.

A question and its answer are two messages, each with a delay of its own, passed on as the objects they are; their bytes
are counted as real frames would have them. In fair weather the time an answer takes is known when the question is put,
so a time limit costs nothing: either the answer is scheduled or the failure. Messages overtake one another freely, more
than TCP lets them: whatever holds here holds there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from random import Random

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.errors import Malformed, Unreachable, Untruthful
from chordtwist.core.peer import Peer
from chordtwist.node.interfaces import IAnswer, IPeerLink
from chordtwist.simulation.chance import QUANTILES, QUANTILES_BITS, Delays, below, exponential
from chordtwist.simulation.clock import HeapClock, HostClock, microseconds
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

LINK_IDLE_US = 120_000_000
"""An unused link is closed after this time, as the real pool's `IDLE_S` says; the next question greets again."""

LINKS_MAX = 256
"""Links of one host that are remembered before the idle ones are forgotten."""

HANDSHAKE_ROUND_TRIPS = 2
"""TCP, then TLS 1.3; the Hellos travel with the first question and answer."""

RETRY_US = 200_000
"""A lost segment is sent again after this time, then after twice as long each (RFC 6298 as Linux does it)."""

RETRIES_MAX = 6

CONTINENT = exponential(5_000, 30_000)
"""Delays, one way, between hosts of one continent: 5 ms and a tail, 30 ms on average."""

_DRAW_MASK = QUANTILES - 1

_ASKED, _ANSWERED, _FAILED, _CRASHED, _ENDED, _STARTED = 1, 2, 3, 4, 5, 6
"""What the words of the trace tell."""


@dataclass(frozen=True, slots=True)
class Weather:
    """What the network does to every message. Shares are probabilities per message, each way."""

    delays: Delays = CONTINENT
    """One way."""

    loss: float = 0.0
    """Segments lost and sent again by TCP: the message comes late, 200 ms and doubling."""

    dropped: float = 0.0
    """Messages that never arrive: a middle box that forgot the link."""

    duplicated: float = 0.0
    """Questions that arrive a second time."""

    overtaken: float = 0.0
    """Messages held back by anything up to `overtaken_us`."""

    overtaken_us: int = 2_000_000

    @property
    def is_fair(self) -> bool:
        return not (self.loss or self.dropped or self.duplicated or self.overtaken)


class SimulatedNetwork:
    """All links between all hosts. Hosts are named by their `Peer`."""

    def __init__(self, clock: HeapClock, rng: Random, trace: Trace, weather: Weather | None = None) -> None:
        self.clock = clock
        self.trace = trace
        self.bytes_by_kind = [0] * 256
        """Plaintext bytes written, by kind of message."""
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
        self._groups: dict[bytes, int] = {}
        self._cuts: dict[tuple[bytes, bytes], None] = {}
        self._clogs: dict[tuple[bytes, bytes], list[tuple[Callable[[_Asked], None], _Asked]]] = {}
        self._slow_us: dict[bytes, int] = {}
        self._limits_us: dict[int, int] = {}
        self._rough = False
        self.weather = weather if weather is not None else Weather()

    # Faults

    @property
    def weather(self) -> Weather:
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        self._weather = weather
        self._delays = weather.delays
        self._look_up()

    def change_weather(self, **changes: float | Delays) -> None:
        """Some of the weather changes, the rest stays."""
        self.weather = replace(self._weather, **changes)  # type: ignore[arg-type]

    def partition(self, groups: Iterable[Iterable[Peer]]) -> None:
        """Only peers of one group reach each other; those that are not named are one more group."""
        self._groups = {peer.packed: number for number, group in enumerate(groups, 1) for peer in group}
        self._look_up()

    def cut(self, source: Peer, target: Peer) -> None:
        """Nothing that `source` sends reaches `target` any more; the other way it still does."""
        self._cuts[source.packed, target.packed] = None
        self._look_up()

    def mend(self, source: Peer, target: Peer) -> None:
        """Undo `cut`."""
        self._cuts.pop((source.packed, target.packed), None)
        self._look_up()

    def clog(self, source: Peer, target: Peer) -> None:
        """What `source` sends to `target` from now on waits until the link is unclogged."""
        self._clogs.setdefault((source.packed, target.packed), [])
        self._look_up()

    def unclog(self, source: Peer, target: Peer) -> None:
        """Everything that waited arrives now, in order."""
        for act, asked in self._clogs.pop((source.packed, target.packed), ()):
            self.clock.at(self.clock.now_us, act, asked)
        self._look_up()

    def slow_down(self, peer: Peer, late_us: int) -> None:
        """Everything to and from `peer` takes so much longer; 0 makes it well again."""
        if late_us:
            self._slow_us[peer.packed] = late_us
        else:
            self._slow_us.pop(peer.packed, None)
        self._look_up()

    def heal(self) -> None:
        """Every fault of the network ends: fair weather, no cuts, and clogged links run free, the last one first."""
        for source, target in reversed(list(self._clogs)):
            for act, asked in self._clogs.pop((source, target)):
                self.clock.at(self.clock.now_us, act, asked)
        self._groups, self._cuts, self._slow_us = {}, {}, {}
        self.weather = Weather(delays=self._weather.delays)

    def blocked(self, source: Peer, target: Peer) -> bool:
        """Whether a partition or a cut stands between them."""
        return (source.packed, target.packed) in self._cuts or (
            bool(self._groups) and self._groups.get(source.packed, 0) != self._groups.get(target.packed, 0)
        )

    def _look_up(self) -> None:
        self._rough = bool(self._groups or self._cuts or self._clogs or self._slow_us or not self._weather.is_fair)

    # Hosts

    def link(self, peer: Peer, public: bytes) -> SimulatedLink:
        """The link of a process about to start at `peer`, whose key is `public`; it hears nothing before `listen`."""
        return SimulatedLink(self, peer, public, self._indexes.setdefault(peer.packed, len(self._indexes)))

    def traffic_bytes(self) -> int:
        """All plaintext bytes written up to now."""
        return sum(self.bytes_by_kind)

    # Messages

    def _size(self, message: Message) -> int:
        size = OPENING_BYTES + len(encode(message))
        self.bytes_by_kind[message.kind] += size
        return size

    def _read_back(self, message: Message) -> Message:
        frames = FrameReader(BODY_BYTES_MAX).feed(pack_frame(message.kind, 0, encode(message)))
        return decode(frames[0][0], frames[0][2])

    def limit_us(self, question: Question) -> int:
        """How long the asker of `question` waits."""
        limit = self._limits_us.get(question.kind)
        if limit is None:
            limit = self._limits_us[question.kind] = microseconds(question.answer_within_s)
        return limit

    def send(self, asked: _Asked) -> None:
        """Put a question on its way."""
        question, asker, clock, delays = asked.question, asked.asker, self.clock, self._delays
        now_us, kind = clock.now_us, question.kind
        self.bytes_by_kind[kind] += OPENING_BYTES + len(encode(question))
        drawn = self._rng.getrandbits(2 * QUANTILES_BITS)
        there_us, back_us = delays[drawn & _DRAW_MASK], delays[drawn >> QUANTILES_BITS]
        asked.limit_us = limit_us = now_us + (self._limits_us.get(kind) or self.limit_us(question))
        packed = asked.peer.packed
        asked.to = to = self._listening.get(packed)
        if to is None:
            if packed in self._dark or (self._rough and self.blocked(asker.me, asked.peer)):
                clock.at(limit_us, self._silent, asked)
            else:
                clock.at(min(now_us + there_us + back_us, limit_us), self._refused, asked)
            return
        last_us = asker.links.get(to)
        if last_us is None or now_us - last_us > LINK_IDLE_US:
            there_us += HANDSHAKE_ROUND_TRIPS * (there_us + back_us)
            asker.greet(to)
        elif now_us - last_us > 1_000_000:
            asker.links[to] = to.links[asker] = now_us
        if self.through_wire:
            asked.question = self._read_back(question)  # type: ignore[assignment]
        if self._rough:
            asked.timed = True
            clock.at(limit_us, self._silent, asked)
            handshake_us = there_us if last_us is None else 0
            fates = self._fates(asker.me, asked.peer, self._weather.duplicated)
            for number, delay_us in enumerate(fates):
                self._post(now_us + delay_us + handshake_us, self.deliver, asked if number == 0 else asked.echo())
        else:
            asked.back_us = back_us
            arrives_us = now_us + there_us
            if arrives_us + back_us > limit_us:
                asked.timed = True
                clock.at(limit_us, self._silent, asked)
            clock.at(arrives_us, self.deliver, asked)

    def deliver(self, asked: _Asked) -> None:
        """A question arrives."""
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
        words = self.trace.words
        words.append(clock.now_us << 16 | asked.question.kind << 8 | _ASKED)
        words.append(asked.asker.index << 32 | to.index)
        try:
            answer = to.answerer.answer(asked.asker.me, asked.question)
        except (Malformed, Untruthful) as error:
            self._break(asked, str(error))
        else:
            if isinstance(answer, Answer):
                self._send_back(asked, answer)
            else:
                to.answering[asked] = None
                answer.addCallbacks(self._answered, self._not_answered, callbackArgs=(asked,), errbackArgs=(asked,))
                if asked in to.answering:
                    self._limit(asked)
        after = to.clock.after
        if after is not None:
            after()

    def _answered(self, answer: Answer, asked: _Asked) -> None:
        to = asked.to
        if to is not None and not to.ended:
            to.answering.pop(asked, None)
            self._send_back(asked, answer)

    def _not_answered(self, failure: Failure, asked: _Asked) -> None:
        to = asked.to
        if to is not None and not to.ended:
            to.answering.pop(asked, None)
            failure.trap(Malformed, Untruthful)
            self._break(asked, failure.getErrorMessage())

    def _send_back(self, asked: _Asked, answer: Answer) -> None:
        self.bytes_by_kind[answer.kind] += OPENING_BYTES + len(encode(answer))
        if asked.deferred is None:
            return
        asked.answer = self._read_back(answer) if self.through_wire else answer  # type: ignore[assignment]
        clock = self.clock
        if self._rough:
            self._limit(asked)
            for delay_us in self._fates(asked.peer, asked.asker.me, 0.0):
                self._post(clock.now_us + delay_us, self.arrive, asked)
        else:
            if not asked.back_us:  # it was put in rough weather, which has ended
                asked.back_us = self._delays[self._rng.getrandbits(QUANTILES_BITS)]
            clock.at(clock.now_us + asked.back_us, self.arrive, asked)

    def arrive(self, asked: _Asked) -> None:
        """An answer arrives."""
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

    def _fates(self, source: Peer, target: Peer, duplicated: float) -> list[int]:
        """The delays with which copies of one message arrive, in rough weather; none: it never does."""
        if self.blocked(source, target):
            return []
        weather, chance = self._weather, self._rng.random
        if weather.dropped and chance() < weather.dropped:
            return []
        slow_us = self._slow_us.get(source.packed, 0) + self._slow_us.get(target.packed, 0)
        delays = []
        for _ in range(2 if duplicated and chance() < duplicated else 1):
            delay_us = slow_us + self._delays[self._rng.getrandbits(QUANTILES_BITS)]
            if weather.loss:
                retry_us = RETRY_US
                for _ in range(RETRIES_MAX):
                    if chance() >= weather.loss:
                        break
                    delay_us += retry_us
                    retry_us *= 2
            if weather.overtaken and chance() < weather.overtaken:
                delay_us += below(self._rng, weather.overtaken_us)
            delays.append(delay_us)
        return delays

    def _post(self, due_us: int, act: Callable[[_Asked], None], asked: _Asked) -> None:
        if self._clogs:
            ends = asked.asker.me.packed, asked.peer.packed
            waiting = self._clogs.get(ends if act == self.deliver else (ends[1], ends[0]))
            if waiting is not None:
                waiting.append((act, asked))
                return
        self.clock.at(due_us, act, asked)

    # Failures

    def _limit(self, asked: _Asked) -> None:
        """From here on it is not known whether the answer comes in time."""
        if not asked.timed and asked.deferred is not None:
            asked.timed = True
            self.clock.at(max(asked.limit_us, self.clock.now_us), self._silent, asked)

    def _silent(self, asked: _Asked) -> None:
        self._fail(asked, "no answer in time")

    def _refused(self, asked: _Asked) -> None:
        self._fail(asked, "connection refused")

    def _lost(self, asked: _Asked) -> None:
        self._fail(asked, "the link was lost")

    def _lose(self, asked: _Asked) -> None:
        """The process that was asked is gone: its host says so, if it has power and is in reach."""
        if asked.deferred is None:
            return
        if asked.peer.packed in self._dark or (self._rough and self.blocked(asked.peer, asked.asker.me)):
            self._limit(asked)
        else:
            back_us = self._delays[self._rng.getrandbits(QUANTILES_BITS)]
            self.clock.at(self.clock.now_us + back_us, self._lost, asked)

    def _break(self, asked: _Asked, reason: str) -> None:
        """A question broke the protocol: the link it came over ends."""
        to = asked.to
        assert to is not None
        if self.misled is not None:
            self.misled(asked.asker.me, asked.peer, reason)
        self._size(Goodbye(reason[:100]))
        to.links.pop(asked.asker, None)
        asked.asker.links.pop(to, None)
        self._lose(asked)
        to.answerer.breach(asked.asker.me, reason)

    def _fail(self, asked: _Asked, reason: str) -> None:
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
        """A process ended; its peers learn of it as their hosts do."""
        if self._listening.get(link.me.packed) is link:
            del self._listening[link.me.packed]
        if dark:
            self._dark[link.me.packed] = None
        self._word(link, _CRASHED if crashed else _ENDED)
        now_us = self.clock.now_us
        for other, last_us in link.links.items():
            other.links.pop(link, None)
            if dark or other.ended or now_us - last_us > LINK_IDLE_US or self.blocked(link.me, other.me):
                continue
            if crashed:
                delay_us = self._delays[self._rng.getrandbits(QUANTILES_BITS)]
                self.clock.at(now_us + delay_us, other.tell_lost, link.me)
            else:
                self._size(_GOODBYE)
        link.links = {}
        for asked in link.answering:
            self._lose(asked)
        link.answering = {}

    def _word(self, link: SimulatedLink, what: int) -> None:
        self.trace.words.append(self.clock.now_us << 16 | what)
        self.trace.words.append(link.index)

    def greeted(self) -> None:
        """Two Hellos crossed."""
        self.bytes_by_kind[Hello.kind] += 2 * _HELLO_BYTES


@implementer(IPeerLink)
class SimulatedLink:
    """The network as one run of one process sees it; `clock` is the time of that process, held and ended with it."""

    def __init__(self, network: SimulatedNetwork, me: Peer, public: bytes, index: int) -> None:
        self._network = network
        self.me = me
        self.public = public
        self.index = index
        self.clock = HostClock(network.clock)
        self.ended = False
        self.links: dict[SimulatedLink, int] = {}
        """Open links: the other end, and when they were last used, to a second."""
        self.links_max = LINKS_MAX
        self.keys: dict[bytes, bytes] = {}
        self.answering: dict[_Asked, None] = {}
        """Questions whose answer takes its time."""
        self.answerer: IAnswer

    def listen(self, answerer: IAnswer) -> None:
        """Questions are taken from now on."""
        self.answerer = answerer
        self._network.opened(self)

    def ask(self, peer: Peer, question: Question) -> Deferred[Answer]:
        """See `IPeerLink.ask`. What a dead process asks is never answered."""
        deferred: Deferred[Answer] = Deferred()
        if not self.ended:
            self._network.send(_Asked(deferred, self, peer, question))
        return deferred

    def key_of(self, peer: Peer) -> bytes | None:
        """See `IPeerLink.key_of`."""
        return self.keys.get(peer.packed)

    def pause(self) -> None:
        """The process stands still, as after SIGSTOP; links stay, and what arrives waits."""
        self.clock.hold()

    def resume(self) -> None:
        """It goes on, and finds everything that happened meanwhile at once."""
        self.clock.resume()

    def crash(self) -> None:
        """The process dies, as after SIGKILL: its host resets its links, and refuses new ones."""
        self._end(True, False)

    def power_off(self) -> None:
        """The host dies: nobody says anything."""
        self._end(True, True)

    def close(self) -> None:
        """The process ends as it should: every link with a Goodbye."""
        self._end(False, False)

    def _end(self, crashed: bool, dark: bool) -> None:
        if not self.ended:
            self.ended = True
            self.clock.end()
            self._network.ended(self, crashed, dark)

    def greet(self, other: SimulatedLink) -> None:
        """A new link: both ends remember it; its Hellos are counted."""
        now_us = self._network.clock.now_us
        self._network.greeted()
        for mine, theirs in ((self, other), (other, self)):
            mine.links[theirs] = now_us
            if len(mine.links) > mine.links_max:
                mine.links = {link: last for link, last in mine.links.items() if now_us - last <= LINK_IDLE_US}
                mine.links_max = max(LINKS_MAX, 2 * len(mine.links))

    def tell_lost(self, peer: Peer) -> None:
        """The network saw a reset from `peer`."""
        if self.ended:
            return
        if self.clock.held is not None:
            self.clock.held.append((self.tell_lost, peer))
            return
        if peer.packed in self.keys:
            self.answerer.link_lost(peer, "connection reset")
            if self.clock.after is not None:
                self.clock.after()


class _Asked:
    """A question under way. `deferred` is None once it has fired, or when nobody waits."""

    __slots__ = ("answer", "asker", "back_us", "deferred", "limit_us", "peer", "question", "timed", "to")

    def __init__(self, deferred: Deferred[Answer] | None, asker: SimulatedLink, peer: Peer, question: Question) -> None:
        self.deferred = deferred
        self.asker = asker
        self.peer = peer
        self.question = question
        self.to: SimulatedLink | None = None
        self.answer: Answer | None = None
        self.back_us = 0
        self.limit_us = 0
        self.timed = False
        """Whether its failure is scheduled."""

    def echo(self) -> _Asked:
        """The same question once more, whose answer nobody waits for."""
        copy = _Asked(None, self.asker, self.peer, self.question)
        copy.to = self.to
        copy.limit_us = self.limit_us
        return copy


_HELLO_BYTES = OPENING_BYTES + len(
    encode(Hello(1, 1, "chordtwist", "IP", 16, 4, 3000, bytes(6), bytes(32), 1 << 40, 1 << 16, 1 << 40, bytes(64)))
)
_GOODBYE = Goodbye("closing")
