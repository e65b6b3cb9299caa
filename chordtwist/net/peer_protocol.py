"""One link to another node: Hello both ways, then questions and answers, each side asking and answering at will.

It moves messages and decides nothing: whom to trust and which link to use is the pool's, what to answer the node's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Any, cast
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chordtwist.core.costs import Costs, Payer
from chordtwist.core.errors import Malformed, Refused, Unreachable, Untruthful
from chordtwist.core.peer import Peer
from chordtwist.net.bounds import JOINED_BYTES_MAX
from chordtwist.net.introduction import Introduction, Met
from chordtwist.net.outstanding import Asked, Outstanding
from chordtwist.net.tls import Tls, explain
from chordtwist.wire.frames import OPENING_BYTES, Frame, FrameReader, pack_frame
from chordtwist.wire.peer_messages import (
    BODY_BYTES_MAX,
    MESSAGE_NAMES,
    MESSAGES,
    REASON_MAX,
    UPKEEP_KINDS,
    Answer,
    Goodbye,
    Hello,
    Question,
    decode,
    encode,
)

HELLO_WITHIN_S = 5.0
"""From the connection to the other side's Hello, TLS handshake included: fifty nodes that start at once on two cores
need about two seconds; one that dawdles on purpose holds a descriptor no longer than this."""

LINK_CLOSES_WITHIN_S = 1.0
"""How long the transport may take to close once a Goodbye is written."""

STALLED_S = 10.0
"""A peer that takes nothing of what we write for so long is gone."""

ASKED_MAX = 4096
"""Questions of ours without an answer on one link: far above what keeps a link busy, few enough to be swept."""

OWED_MAX = 4096
"""Questions of ours that we gave up and that may still be answered; a peer that owes more answers is gone."""

ANSWERING_MAX = 1024
"""Questions of theirs that wait for the node's answer; further ones are held back."""

HELD_BACK_BYTES_MAX = 1 << 19
"""Bytes of questions held back; with more of them, nothing is read from the link. As much as the longest question, so
that one which has to wait keeps nobody's Ping from being read."""

HELD_QUESTION_BYTES = 256
"""What a question that is held back takes besides its body."""

HELD_BACK_AT_ONCE = 64
"""Questions held back in one turn of the reactor: else each of a thousand links brings thousands of them at once."""

CHARGED_BYTES_MIN = 8192
"""Answers of so many bytes are charged for being written too: encrypting them costs more than to measure it. Others are
mostly written while their questions are read, which is charged as a whole."""

LET_WAIT_S_MIN = 0.1
"""Whoever owes waits so long at least: all its links wake up for what came back meanwhile, not for each question."""

BLOCKED_BYTES_MAX = 1 << 22
"""Bytes that may be written while the transport takes none: 64 of the largest values."""

GREETING_BYTES_MAX = OPENING_BYTES + Hello.body_bytes_max
"""Bytes of an incomplete frame that are kept of somebody who has not said Hello."""

MUTE = "it ended the connection without a Hello: no node's p2p_address, or another [tls] mode"
"""Mostly a bootstrap list names the API of a node, or one of two nodes has no TLS."""

_LINK_KIND_MAX = Goodbye.kind
"""Messages of the link itself have kinds up to this one; questions and answers have higher ones."""

_ANSWER_KINDS = frozenset(message.kind for message in MESSAGES if issubclass(message, Answer))


class Phase(Enum):
    """How far a link has come."""

    CONNECTING = "connecting"
    """Nothing may be written: its transport does not stand, or TLS over it does not."""

    GREETING = "greeting"
    """Our Hello is said, theirs has not come."""

    OPEN = "open"
    """Both have said Hello: questions and answers go both ways."""

    ENDED = "ended"
    """Nothing is read any more, and nothing written but what says so."""


# Needed for every frame, and to look a member up in its class takes Python 3.11 another 0.1 us.
_LINK_OPEN, _LINK_ENDED = Phase.OPEN, Phase.ENDED


class End(Enum):
    """How a link came to its end."""

    SAID = "said"
    """We said Goodbye."""

    HEARD = "heard"
    """The other side said Goodbye."""

    LOST = "lost"
    """The transport broke, or the other side was silent for too long."""

    REFUSED = "refused"
    """We do not talk to the other side: another network, another address, a certificate we do not take."""

    BROKEN = "broken"
    """The other side did what the protocol forbids."""


class LinkOwner(Shape):
    """Who has links: told what happens on each."""

    def accepts(self, link: PeerProtocol, host: str) -> bool:
        """Say whether a connection that came from an IP address may become this link."""

    def handshaken(self, link: PeerProtocol) -> None:
        """Take in a link whose other side has said a good Hello. @raise Refused: it is not wanted all the same."""

    def answer(self, link: PeerProtocol, question: Question) -> Answer | Deferred[Answer]:
        """Answer what came over a link. @raise Malformed, Untruthful: the link is to end."""

    costs: Costs
    """Who pays for what is done."""

    def payer(self, link: PeerProtocol, is_upkeep: bool) -> Payer:
        """Say who pays for a question that came over a link."""

    def wait_s(self, link: PeerProtocol, payer: Payer) -> float:
        """Say how long `payer` has to wait before another question of its is answered; 0 when it need not."""

    def next_turn(self, link: PeerProtocol) -> None:
        """Have a link go on with the next turn of the reactor, since others have had their part of this one."""

    def holding(self, more_bytes: int) -> None:
        """Count the bytes that a link makes us hold: more, or less."""

    def flush_later(self, link: PeerProtocol) -> None:
        """Call a link's `flush`, since it has something to write, when this turn of the reactor is over."""

    def ended(self, link: PeerProtocol, end: End, reason: str, unanswered: list[Asked]) -> None:
        """Forget a link, since nothing comes or goes over it any more. `unanswered`: our questions, now the owner's."""

    def closed(self, link: PeerProtocol) -> None:
        """Count a link's descriptor as free; follows `ended`."""

    def wrote(self, length: int) -> None:
        """Count bytes that were written, before encryption."""


class PeerFactory(Factory):
    """Makes the links of one node: those that others dial, as a listening port's factory, and those it dials."""

    noisy = False

    def __init__(self, owner: LinkOwner, introduction: Introduction, tls: Tls | None, clock: IReactorTime) -> None:
        self._owner = owner
        self._introduction = introduction
        self._tls = tls
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Make the link to whoever dialled us, or None: then Twisted closes the connection at once."""
        link = self.link(None)
        host = cast(Any, addr).host
        return self.wrapped(link) if self._owner.accepts(link, host) else None

    def link(self, dialled: Peer | None) -> PeerProtocol:
        """Make a link that has no transport yet."""
        return PeerProtocol(self._owner, self._introduction, self._tls, self._clock, dialled)

    def wrapped(self, link: PeerProtocol) -> Protocol:
        """Make what a transport is given for a link: the link itself, or TLS around it."""
        if self._tls is None:
            return link
        dialled = None if link.dialled is None else (link.dialled.host, link.dialled.port)
        return self._tls.wrap(link, dialled, link.charged)


@implementer(IHandshakeListener, IPushProducer)
class PeerProtocol(Protocol):
    """A link.

    @ivar dialled: the peer we dialled to get it; None when the other side dialled us.
    @ivar handshaken: who the other side says it is; None before its Hello.
    @ivar is_proved: whether our own dial has met the other side's key at its address; its owner says so.
    @ivar came_from: the IP address at the other end.
    @ivar made_at: when it began, by the clock.
    @ivar heard_at: when anything was last heard.
    @ivar used_at: when a whole frame last came.
    @ivar held_bytes: what the other side makes us hold: an incomplete frame, questions that wait, answers it does not
        take.
    """

    __slots__ = (  # a dictionary of so many names takes 1.6 KiB, and a node has many links
        "_answering",
        "_answering_bytes",
        "_asks_upkeep",
        "_blocked_bytes",
        "_channel",
        "_clock",
        "_flush_due",
        "_flush_payer",
        "_frames",
        "_held",
        "_held_bytes",
        "_input_paused",
        "_introduction",
        "_is_behind",
        "_is_taking",
        "_joined_bytes",
        "_limit",
        "_next_id",
        "_outstanding",
        "_owed",
        "_owner",
        "_phase",
        "_tls",
        "_unread",
        "_waiting",
        "_write_blocked",
        "_writes",
        "came_from",
        "dialled",
        "handshaken",
        "heard_at",
        "held_bytes",
        "is_proved",
        "made_at",
        "used_at",
    )

    _log = Logger()
    _outstanding: Outstanding  # from the other side's Hello on

    def __init__(
        self, owner: LinkOwner, introduction: Introduction, tls: Tls | None, clock: IReactorTime, dialled: Peer | None
    ) -> None:
        self.dialled = dialled
        self.handshaken: Met | None = None
        self.is_proved = False
        self.came_from = ""
        self.made_at = self.heard_at = self.used_at = clock.seconds()
        self._owner = owner
        self._introduction = introduction
        self._tls = tls
        self._clock = clock
        self.held_bytes = 0
        self._channel = b""
        self._phase = Phase.CONNECTING
        self._limit: IDelayedCall | None = None  # of the phase: for their Hello, what we write, the closing
        self._frames = FrameReader(BODY_BYTES_MAX)
        # Our questions
        self._next_id = 0
        self._owed: set[int] = set()
        # Their questions, upkeep apart
        self._answering = 0
        self._answering_bytes = 0
        self._held: dict[bool, deque[Frame]] = {}  # only while some wait
        self._held_bytes = 0
        self._is_taking = False  # whoever takes questions at present sees that there is room for more
        self._waiting: dict[bool, IDelayedCall] = {}  # since they owe
        self._is_behind = False  # what has come is not all looked at
        self._input_paused = False
        self._asks_upkeep: bool | None = None  # of the last question that came with what is read at present
        self._unread: tuple[Callable[[bytes], None], bytes] | None = None  # came when the turn was over
        # What is written
        self._writes: list[bytes] = []
        self._joined_bytes = 0
        self._flush_payer: Payer | None = None
        self._flush_due = False  # in this turn of the reactor, without further ado
        self._write_blocked = False
        self._blocked_bytes = 0

    # What its owner asks of a link, and does with it

    @property
    def peer(self) -> Peer | None:
        """Who is at the other end, as far as is known: the peer that we dialled, or that the other side says to be."""
        return self.dialled if self.handshaken is None else self.handshaken.peer

    @property
    def name(self) -> str:
        """What a log line calls the other end."""
        peer = self.peer
        return self.came_from if peer is None else str(peer)

    @property
    def is_open(self) -> bool:
        """Whether questions may be asked over it."""
        return self._phase is _LINK_OPEN

    @property
    def under_way(self) -> int:
        """Questions that wait for their answer, both ways."""
        return len(self._outstanding) + self._answering + sum(map(len, self._held.values()))

    @property
    def partial_bytes(self) -> int:
        """Bytes of a frame that has begun and not ended; 0 while it is we who do not read the rest."""
        return 0 if self._input_paused else self._frames.held_bytes

    def ask(self, question: Question) -> Deferred[Answer]:
        """`IPeerLink.ask` over this link, which is open."""
        answered: Deferred[Answer] = Deferred()
        self.send((self._clock.seconds() + question.answer_within_s, question, answered, self._owner.costs.payer))
        return answered

    def send(self, asked: Asked) -> None:
        """Put a question to the peer whose time is running already."""
        outstanding = self._outstanding
        if len(outstanding) >= ASKED_MAX or self._blocked_bytes >= BLOCKED_BYTES_MAX:
            error = Unreachable(cast(Met, self.handshaken).peer, "too many questions to it wait already")
            self._clock.callLater(0, asked[2].errback, error)
            return
        question = asked[1]
        request_id = self._next_id
        self._next_id = (request_id + 1) & 0xFFFFFFFF
        outstanding.add(request_id, asked)
        self._write(pack_frame(question.kind, request_id, encode(question)))

    def end(self, reason: str) -> None:
        """Say Goodbye, and why."""
        self._end(End.SAID, reason)

    def give_up(self, reason: str) -> None:
        """End it, since the other side takes nothing or says nothing any more."""
        self._end(End.LOST, reason)

    def flush(self) -> None:
        """Write what was said since `flush_later`, if the transport still stands."""
        self._flush_due = False
        if self.connected:
            self._flush()

    def check_again(self) -> None:
        """Look at the other side's certificate once more: it may have expired, or have been revoked."""
        if self._tls is not None and self.is_open:
            self._check()

    # What Twisted calls

    def connectionMade(self) -> None:
        """Begin, since the transport stands; with TLS, its handshake is still to come."""
        transport = cast(Any, self.transport)
        self.came_from = transport.getPeer().host
        self._set_limit(HELLO_WITHIN_S, self._no_hello)
        no_delay = getattr(transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        if self._tls is None:
            self._introduce()

    def handshakeCompleted(self) -> None:
        """Look at the other side's certificate, since TLS stands, then say Hello."""
        self._phase = Phase.GREETING
        if self._check():
            self._introduce()

    def charged(self, read: Callable[[bytes], None], received: bytes) -> None:
        """Read what arrives, or what has waited since others had had their part of a turn; whoever asks something with
        it pays for all of that, from the account of its last question.
        """
        costs = self._owner.costs
        if self._phase is _LINK_ENDED:
            read(received)
        elif costs.is_turn_over:
            # Of a hundred links that are read in one turn each takes a millisecond, for 64 KiB or a handshake.
            self._unread = read, received
            cast(Any, self.transport).pauseProducing()
            self._owner.next_turn(self)
            self._report_held_bytes()
        else:
            self._asks_upkeep = None
            spent_s = costs.measured(read, received)
            asks = self._asks_upkeep
            costs.charge(None if asks is None else self._owner.payer(self, asks), spent_s)

    def dataReceived(self, received: bytes) -> None:
        """Take what arrives; what that makes us write goes out in one piece."""
        if self._phase is _LINK_ENDED:
            return
        self.heard_at = self._clock.seconds()
        self._frames.feed(received)
        if not self._is_behind:
            self._go_on(self._take_frames)

    def go_on(self) -> None:
        """Answer what waits, and look at what has come, as far as this turn of the reactor goes."""
        if self._unread is not None:
            unread, self._unread = self._unread, None
            cast(Any, self.transport).resumeProducing()
            self.charged(*unread)
        if self._phase is not _LINK_ENDED:
            self._go_on(self._answer_held)

    def _go_on(self, first: Callable[[], None]) -> None:
        # Where something was asked in this turn before, all goes with it: one record of TLS instead of two.
        flushes_here = not self._flush_due
        self._flush_due = self._is_taking = True
        try:
            first()
            if self._held:
                self._answer_held()  # what came may have made answers ready, and so room for what waits
            if self._input_paused:
                self._read_on()
        except (Malformed, Untruthful) as error:
            self._end(End.BROKEN, str(error))
        finally:
            self._is_taking = False
            if flushes_here:
                self.flush()
            self._report_held_bytes()

    def pauseProducing(self) -> None:
        """Answer no more questions for now, since the other side takes less than we write."""
        self._write_blocked = True
        self._set_limit(STALLED_S, self._stalled)

    def resumeProducing(self) -> None:
        """Go on answering, since all that was written is on its way."""
        self._write_blocked = False
        self._blocked_bytes = 0
        self._clear_limit()
        self.go_on()

    def stopProducing(self) -> None:
        """Do nothing: the transport is gone, and `connectionLost` follows."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End it, since the transport is gone."""
        self.connected = 0
        if self._phase is not _LINK_ENDED:
            is_mute = self.dialled is not None and self._phase is not _LINK_OPEN
            lost = MUTE if is_mute else reason.getErrorMessage().rstrip(".")
            we_refused, why = explain(reason, self.transport) or (False, lost)
            self._end(End.REFUSED if we_refused else End.LOST, why)
        self._clear_limit()
        self._owner.closed(self)

    # The beginning

    def _check(self) -> bool:
        host = self.came_from if self.dialled is None else self.dialled.host
        try:
            self._channel = cast(Tls, self._tls).check(cast(Any, self.transport).getHandle(), host)
        except Refused as error:
            self._end(End.REFUSED, str(error))
            return False
        return True

    def _introduce(self) -> None:
        self._phase = Phase.GREETING
        hello = self._introduction.hello(self.dialled, self._channel)
        self._writes.append(pack_frame(Hello.kind, 0, encode(hello)))
        self._flush()

    def _take_frames(self) -> None:
        held_back = 0
        frames = self._frames.frames()
        for kind, request_id, body in frames:
            self.used_at = self.heard_at
            if self._phase is not _LINK_OPEN or kind <= _LINK_KIND_MAX:
                self._take_greeting(kind, body)
            elif kind in _ANSWER_KINDS:
                self._take_answer(kind, request_id, body)
            elif not self._take_question(kind, request_id, body):
                held_back += 1
                if held_back >= HELD_BACK_AT_ONCE or not self._may_read():
                    self._stay_behind()
                    break
            if self._phase is _LINK_ENDED:
                break
        frames.close()
        if self._phase is _LINK_ENDED:
            self._frames = FrameReader({})
        elif self._phase is not _LINK_OPEN and self._frames.held_bytes > GREETING_BYTES_MAX:
            raise Malformed(f"more than {GREETING_BYTES_MAX} bytes before Hello")

    def _take_greeting(self, kind: int, body: bytes) -> None:
        message = decode(kind, body)
        if isinstance(message, Goodbye):
            self._end(End.HEARD, message.reason)
        elif isinstance(message, Hello) and not self.is_open:
            self._take_hello(message)
        else:
            raise Malformed(f"{MESSAGE_NAMES[kind]} {'for the second time' if self.is_open else 'before Hello'}")

    def _take_hello(self, hello: Hello) -> None:
        try:
            self.handshaken = self._introduction.meet(hello, self.came_from, self.dialled, self._channel)
            self._outstanding = Outstanding(self.handshaken.peer, self._clock, self._gave_up)
            self._clear_limit()
            self._phase = _LINK_OPEN
            cast(Any, self.transport).registerProducer(self, True)
            if self._tls is not None and self.dialled is not None:
                self._tls.remember(cast(Any, self.transport).getHandle(), (self.dialled.host, self.dialled.port))
            self._owner.handshaken(self)
        except Refused as error:
            self._end(End.REFUSED, str(error))

    # Questions and answers

    def _take_answer(self, kind: int, request_id: int, body: bytes) -> None:
        answer: Any = decode(kind, body)
        asked = self._outstanding.take(request_id)
        if asked is not None:
            if asked[3] is None:
                asked[2].callback(answer)
            else:
                self._owner.costs.charged(asked[3], asked[2].callback, answer)
        elif request_id in self._owed:
            self._owed.remove(request_id)
        else:
            raise Malformed(f"{MESSAGE_NAMES[kind]} for no question")

    def _gave_up(self, request_id: int) -> None:
        self._owed.add(request_id)
        dead_after_s = self._introduction.parameters.dead_after_s
        if self._clock.seconds() - self.heard_at >= dead_after_s:
            # A fresh dial finds out more than waiting: another process may have the address by now.
            self.give_up(f"silent for {dead_after_s:g} s")
        elif len(self._owed) > OWED_MAX:
            self.give_up(f"it left {OWED_MAX} questions unanswered")

    def _take_question(self, kind: int, request_id: int, body: bytes) -> bool:
        """Answer a question, or hold it back; say whether it is answered."""
        self._asks_upkeep = is_upkeep = self.is_proved and kind in UPKEEP_KINDS
        if is_upkeep not in self._held and self._can_answer() and is_upkeep not in self._waiting:
            payer = self._owner.payer(self, is_upkeep)
            wait_s = self._owner.wait_s(self, payer)
            if wait_s <= 0:
                self._answer(kind, request_id, body, payer)
                return True
            self._let_wait(is_upkeep, wait_s)
        self._held.setdefault(is_upkeep, deque()).append((kind, request_id, body))
        self._held_bytes += len(body) + HELD_QUESTION_BYTES
        return False

    def _can_answer(self) -> bool:
        if self._write_blocked or self._answering >= ANSWERING_MAX:
            return False
        if self._owner.costs.is_turn_over:
            self._owner.next_turn(self)
            return False
        return True

    def _let_wait(self, is_upkeep: bool, wait_s: float) -> None:
        # What it sends stays where it is: nothing is lost, nobody else pays for it.
        self._waiting[is_upkeep] = self._clock.callLater(max(wait_s, LET_WAIT_S_MIN), self._has_waited, is_upkeep)
        if not self._may_read():
            self._stay_behind()

    def _has_waited(self, is_upkeep: bool) -> None:
        del self._waiting[is_upkeep]
        self.go_on()

    def _may_read(self) -> bool:
        # Of a stranger that owes there is nothing to look at; a peer that does may have sent a Ping.
        return self._held_bytes <= HELD_BACK_BYTES_MAX and (self.is_proved or False not in self._waiting)

    def _stay_behind(self) -> None:
        self._is_behind = True
        if not self._input_paused:
            self._input_paused = True
            cast(Any, self.transport).pauseProducing()
        if self._may_read():
            self._owner.next_turn(self)

    def _read_on(self) -> None:
        if self._is_behind and self._may_read():
            if self._owner.costs.is_turn_over:
                self._owner.next_turn(self)
            else:
                self._is_behind = False
                self._take_frames()
        if not self._is_behind and self._phase is not _LINK_ENDED:
            self._input_paused = False
            cast(Any, self.transport).resumeProducing()

    def _answer_held(self) -> None:
        for is_upkeep in True, False:
            held = self._held.get(is_upkeep)
            while held and is_upkeep not in self._waiting and self._phase is not _LINK_ENDED and self._can_answer():
                payer = self._owner.payer(self, is_upkeep)
                wait_s = self._owner.wait_s(self, payer)
                if wait_s > 0:
                    self._let_wait(is_upkeep, wait_s)
                    break
                kind, request_id, body = held.popleft()
                self._held_bytes -= len(body) + HELD_QUESTION_BYTES
                self._answer(kind, request_id, body, payer)
            if not held:
                self._held.pop(is_upkeep, None)

    def _answer(self, kind: int, request_id: int, body: bytes, payer: Payer) -> None:
        costs = self._owner.costs
        before = costs.switch(payer)
        question: Any = None
        try:
            question = decode(kind, body)
            answer = self._owner.answer(self, question)
            if isinstance(answer, Deferred):
                self._answering += 1
                self._answering_bytes += len(body)
                given = (request_id, len(body), payer)
                answer.addCallbacks(self._answered, self._not_answered, callbackArgs=given, errbackArgs=(len(body),))
            else:
                self._write_answer(answer, request_id, payer)
        except (Malformed, Untruthful):
            raise
        except Exception:
            # A bug of ours: the asker hears nothing, the link goes on.
            self._log.failure("while answering {question}", question=question)
        finally:
            costs.switch(before)

    def _answered(self, answer: Answer, request_id: int, body_bytes: int, payer: Payer) -> None:
        if self._phase is not _LINK_ENDED:
            if self._owner.costs.payer is payer:
                self._write_answer(answer, request_id, payer)
            else:
                self._owner.costs.charged(payer, self._write_answer, answer, request_id, payer)
        self._answer_done(body_bytes)

    def _write_answer(self, answer: Answer, request_id: int, payer: Payer) -> None:
        self._flush_payer = payer
        self._write(pack_frame(answer.kind, request_id, encode(answer)))

    def _not_answered(self, failure: Failure, body_bytes: int) -> None:
        if failure.check(Malformed, Untruthful) is not None:
            self._end(End.BROKEN, failure.getErrorMessage())
        else:
            self._log.failure("while answering a question", failure)
        self._answer_done(body_bytes)

    def _answer_done(self, body_bytes: int) -> None:
        self._answering -= 1
        self._answering_bytes -= body_bytes
        if not self._is_taking:
            if self._held:
                self.go_on()
            else:
                self._report_held_bytes()

    # Writing

    def _write(self, frame: bytes) -> None:
        self._writes.append(frame)
        self._joined_bytes += len(frame)
        if self._joined_bytes >= JOINED_BYTES_MAX:
            self._flush()
        elif not self._flush_due:
            self._flush_due = True
            self._owner.flush_later(self)

    def _flush(self) -> None:
        if not self._writes:
            return
        written = b"".join(self._writes)
        self._writes.clear()
        self._joined_bytes = 0
        self._owner.wrote(len(written))
        payer, self._flush_payer = self._flush_payer, None
        if payer is not None and len(written) >= CHARGED_BYTES_MIN:
            self._owner.costs.charged(payer, cast(Any, self.transport).write, written)
        else:
            cast(Any, self.transport).write(written)
        if self._write_blocked:
            self._blocked_bytes += len(written)
            self._report_held_bytes()

    def _report_held_bytes(self) -> None:
        held_bytes = 0
        if self._phase is not _LINK_ENDED:
            held_bytes = self._frames.held_bytes + self._held_bytes + self._answering_bytes + self._blocked_bytes
            if self._unread is not None:
                held_bytes += len(self._unread[1])
        if held_bytes != self.held_bytes:
            more_bytes, self.held_bytes = held_bytes - self.held_bytes, held_bytes
            self._owner.holding(more_bytes)

    # The end

    def _end(self, end: End, reason: str) -> None:
        phase, self._phase = self._phase, _LINK_ENDED
        if phase is _LINK_ENDED:
            return
        self._held.clear()
        self._frames = FrameReader({})
        self._unread = None
        self._report_held_bytes()
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()
        unanswered = [] if self.handshaken is None else self._outstanding.take_all()
        if self.connected:
            may_write = phase is not Phase.CONNECTING
            if may_write and end is not End.HEARD:
                self._writes.append(pack_frame(Goodbye.kind, 0, encode(Goodbye(reason[:REASON_MAX]))))
                self._flush()
            self._close(may_write)
        self._owner.ended(self, end, reason, unanswered)

    def _close(self, may_write: bool) -> None:
        transport = cast(Any, self.transport)
        if may_write:
            transport.unregisterProducer()
            transport.loseConnection()
            self._set_limit(LINK_CLOSES_WITHIN_S, transport.abortConnection)
        else:
            transport.abortConnection()

    # The one time limit that runs: for their Hello, for what we write, or for the closing

    def _set_limit(self, within_s: float, over: Callable[[], object]) -> None:
        self._clear_limit()
        self._limit = self._clock.callLater(within_s, self._limit_over, over)

    def _clear_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _limit_over(self, over: Callable[[], object]) -> None:
        self._limit = None
        over()

    def _no_hello(self) -> None:
        self.give_up(f"no Hello within {HELLO_WITHIN_S:g} s")

    def _stalled(self) -> None:
        self.give_up(f"it took nothing for {STALLED_S:g} s")
