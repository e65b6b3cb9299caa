"""Everything hostile at once from one address, and what can be seen of a node meanwhile: what ``tools.flood`` does for
minutes and the live tests for seconds.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from threading import Thread

from OpenSSL import SSL

from chordtwist.core.evidence import Charge
from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Peer
from chordtwist.core.records import signed_key
from chordtwist.core.signed import (
    Ed25519Signer,
    Stamp,
    Status,
    pack_lease,
    pack_record,
    pack_status,
    table_content,
    table_opening,
    unpack_table,
)
from chordtwist.core.table import FINGERPRINT_LENGTH, FINGERS_MAX, Table
from chordtwist.wire.peer_messages import (
    BATCH_RECORDS_MAX,
    MARKS_MAX,
    MESSAGES,
    PEERS_TOLD_MAX,
    SUMS_OF_CONVICTED,
    Accuse,
    Announce,
    AskConvicted,
    AskLease,
    AskProof,
    Audit,
    Changed,
    Digest,
    Fetch,
    GetTable,
    HandOver,
    HaveList,
    JoinRequest,
    Leave,
    Notify,
    OtherRing,
    Ping,
    PingFor,
    Question,
    RecordBody,
    Relay,
    Release,
    Seal,
    Solution,
    Store,
    StoreAll,
    Summary,
    TableIs,
)
from tests.fleet import API_PORT, Client, Fleet, value_of
from tests.hostile import P2P_PORT, Ended, HostilePeer, Papers, claimed_length, stranger

KEYS = 200
LARGE_VALUES = 100
QUESTIONS = tuple(message for message in MESSAGES if issubclass(message, Question))

BREACHES = ("Leave", "StoreAll of lies", "Accuse of two tables, in vain", "Accuse of a broken lease, in vain")
"""Questions that close the door to whoever asks them; they come when the others have had their time."""

PROOFS = 70
"""So many different proofs are shown in turn: their tables are more than a node remembers (`CONTENTS_UNPACKED_MAX`)."""

ONE_LINK_S = 2.0
"""Then the link is another attack's: an address has fewer links than there are questions."""

IN_FLIGHT = 4
"""Questions of the dearest flood that each link has under way."""

SAMPLE_EVERY_S = 0.25
LINKS_FIRST_S = 1.0
"""Questions need links: these are made before connections without end close the door to their address."""

AT_ONCE = 500
"""Questions that are asked before the first answer is read."""

PORTS_PER_ADDRESS = 5_000
"""Connections from one loopback address; the next one follows, since ports per address are few."""


Attack = tuple[str, int, Callable[[], None]]
"""Its name, in how many threads it is made, and one try."""


class Flood:
    """All attacks on one node from one address, each in threads of its own.

    @ivar done: how often each got through what it tries, as far as it can tell.
    """

    def __init__(self, node: str, comes_from: str, tls: bool, key: bytes = b"", is_dearest: bool = False) -> None:
        """@param key: that of a node at the address it comes from: the attacker is a member of the ring then.
        @param is_dearest: all questions there are, each as dear as can be, instead of a bit of everything.
        """
        self._key = key
        self.node = node
        self.comes_from = comes_from
        self.done: Counter[str] = Counter()
        self._papers = Papers(comes_from) if tls else None
        self._ends_at = 0.0
        self._second_after = 0.0
        self._threads: list[Thread] = []
        self._on_links: tuple[Attack, ...] = (
            ("tables", 4, lambda: self._ask_on("tables", lambda rng: GetTable(0, 0))),
            ("tables by the batch", 2, self._ask_many),
            ("unread tables", 2, self._never_read),
            ("joins", 2, lambda: self._ask_on("joins", lambda rng: JoinRequest(rng.getrandbits(32)))),
            ("announcements", 1, lambda: self._ask_on("announcements", lambda rng: Announce(rng.getrandbits(32), 0))),
            ("notifications", 1, lambda: self._ask_on("notifications", lambda rng: Notify(rng.getrandbits(32)))),
            ("puts", 4, lambda: self._ask_on("puts", _put)),
        )
        self._on_connections: tuple[Attack, ...] = (
            ("connections", 4, self._connect),
            ("half handshakes", 4, self._half_handshake),
            ("slow senders", 16, self._send_slowly),
            ("huge claims", 2, self._claim_much),
            ("plain claims", 2, self._claim_much_as_peer),
        )

        if is_dearest:
            asked = self._dearest_questions()
            dearest: list[Attack] = [(name, 1, partial(self._ask_dearly, name, make)) for name, make in asked.items()]
            self._on_links = tuple(attack for attack in dearest if attack[0] not in BREACHES)
            self._on_connections = tuple(attack for attack in dearest if attack[0] in BREACHES)
            self._second_after = 0.7

    def start(self, seconds: float) -> None:
        """Attack for so long from now on."""
        self._ends_at = time.monotonic() + seconds
        second_s = max(LINKS_FIRST_S, self._second_after * seconds)
        for attacks, begins_s in (self._on_links, 0.0), (self._on_connections, second_s):
            for name, threads, attack in attacks:
                for _ in range(threads):
                    self._threads.append(Thread(target=self._again, args=(name, attack, begins_s), daemon=True))
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the end of it."""
        for thread in self._threads:
            thread.join(max(0.0, self._ends_at + 5 - time.monotonic()))

    @property
    def _is_over(self) -> bool:
        return time.monotonic() >= self._ends_at

    def _again(self, name: str, attack: Callable[[], None], begins_s: float) -> None:
        time.sleep(begins_s)
        while not self._is_over:
            try:
                attack()
            except (OSError, Ended, TimeoutError, SSL.Error) as error:
                # Refused: what happens to most. Not quite a busy loop, so that the others have their turn as well.
                self.done[f"{name}: {type(error).__name__}"] += 1
                time.sleep(0.005)

    def _peer(self) -> HostilePeer:
        port = P2P_PORT if self._key else random.randrange(1024, 65_536)
        seed = int.from_bytes(self._key, "big") if self._key else random.getrandbits(64)
        context = None if self._papers is None else self._papers.context()
        peer = HostilePeer(self.node, self.comes_from, port=port, context=context, signer_seed=seed)
        peer.introduce()
        return peer

    def _dearest_questions(self) -> dict[str, Callable[[], Question]]:
        parameters = Parameters()
        identity = Identity(parameters.network, parameters.policy)
        peer = self._peer()
        try:
            shown = peer.ask(GetTable(0, 0))
        finally:
            peer.close()
        assert isinstance(shown, TableIs), shown
        table = unpack_table(identity, shown.body)
        seed = self._key or bytes(32)
        members = [peer for peer in table.neighbours if peer.host != self.comes_from]
        return dearest_questions(identity, identity.peer(self.comes_from, P2P_PORT), seed, members)

    def _connect(self) -> None:
        for _ in range(10):
            stranger(self.node, self.comes_from).close()
            self.done["connections"] += 1

    def _half_handshake(self) -> None:
        # The first half of a ClientHello, or of a Hello; then nothing.
        with stranger(self.node, self.comes_from) as connection:
            connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if self._papers else b"\0\0\1\0\1")
            self.done["half handshakes"] += 1
            connection.settimeout(max(0.01, self._ends_at - time.monotonic()))
            while connection.recv(4096):
                pass

    def _send_slowly(self) -> None:
        with stranger(self.node, self.comes_from) as connection:
            self.done["slow senders"] += 1
            for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500):
                connection.sendall(bytes((byte,)))
                time.sleep(1)
                if self._is_over:
                    return

    def _claim_much(self) -> None:
        with stranger(self.node, self.comes_from) as connection:
            claim = b"\x16\x03\x03\xff\xff" if self._papers else claimed_length(57, 0xFFFFFFFF)
            with suppress(OSError):
                for _ in range(64):
                    connection.sendall(claim + bytes(65_536))
            self.done["huge claims"] += 1

    def _claim_much_as_peer(self) -> None:
        # Inside TLS where there is any, and as long as the kind allows: the node may well wait for the rest.
        peer = self._peer()
        try:
            peer.write(claimed_length(57, 500_000) + bytes(400_000))
            self.done["plain claims"] += 1
            peer.goodbye()
        finally:
            peer.close()

    def _ask_on(self, name: str, question: Callable[[random.Random], Question]) -> None:
        rng = random.Random()
        peer = self._peer()
        try:
            while not self._is_over:
                peer.ask(question(rng))
                self.done[name] += 1
        finally:
            peer.close()

    def _ask_dearly(self, name: str, question: Callable[[], Question]) -> None:
        peer = self._peer()
        ends_at = time.monotonic() + ONE_LINK_S
        try:
            while not self._is_over and time.monotonic() < ends_at:
                peer.ask_all([question() for _ in range(IN_FLIGHT)])
                self.done[name] += IN_FLIGHT
        finally:
            peer.close()

    def _ask_many(self) -> None:
        peer = self._peer()
        try:
            while not self._is_over:
                peer.ask_all([GetTable(0, 0)] * AT_ONCE)
                self.done["tables by the batch"] += AT_ONCE
        finally:
            peer.close()

    def _never_read(self) -> None:
        peer = self._peer()
        try:
            while not self._is_over:
                peer.say(GetTable(0, 0))
                self.done["unread tables"] += 1
        finally:
            peer.close()


def dearest_questions(
    identity: Identity, me: Peer, seed: bytes, members: Sequence[Peer]
) -> dict[str, Callable[[], Question]]:
    """All questions there are, by name, each with what makes it dearest.

    @param me: who asks; `seed` is that of its key. @param members: whom the node that is asked knows.
    """
    rng = random.Random()
    whole = bytes(32)
    batch, lies = signed_batch(True), signed_batch(False)
    signer = Ed25519Signer(seed)
    proofs = Proofs(identity, me, signer)

    def digest() -> Question:
        return Digest(rng.randbytes(32), rng.randbytes(32), 0, Summary(1 << 20, rng.randbytes(16)))

    def somebody() -> bytes:
        return bytes((127, 66, rng.randrange(256), rng.randrange(256), 25, 1))

    def member() -> bytes:
        return rng.choice(members).packed

    def leave() -> Question:
        # In its own name, of a later run than any, and signed by nobody.
        stamp = Stamp(me, time.time_ns(), rng.getrandbits(32), time.time_ns() // 1_000_000)
        return Leave(pack_status(identity, stamp, Status.LEAVING), rng.randbytes(64))

    made: dict[type[Question], dict[str, Callable[[], Question]]] = {
        Ping: {"": Ping},
        PingFor: {"": lambda: PingFor(somebody()), " a member": lambda: PingFor(member())},
        JoinRequest: {"": lambda: JoinRequest(rng.getrandbits(32))},
        Announce: {"": lambda: Announce(rng.getrandbits(32), rng.randrange(4))},
        Leave: {"": leave},
        OtherRing: {"": lambda: OtherRing(somebody()), " of a member": lambda: OtherRing(member())},
        GetTable: {"": lambda: GetTable(0, 0)},
        Notify: {"": lambda: Notify(rng.getrandbits(32))},
        Changed: {"": Changed},
        AskLease: {"": AskLease},
        Audit: {"": lambda: Audit(filled_key(rng.randrange(LARGE_VALUES)), rng.randbytes(16))},
        Relay: {
            "": lambda: Relay(somebody()),
            " to a member": lambda: Relay(member()),
            " of an audit": lambda: Relay(member(), Audit(rng.randbytes(32), rng.randbytes(16))),
        },
        AskConvicted: {"": lambda: AskConvicted(rng.randbytes(16), rng.randbytes(8), rng.randbytes(SUMS_OF_CONVICTED))},
        AskProof: {"": lambda: AskProof(me.packed)},
        Accuse: {
            "": proofs.of_two_tables(True),
            " of two tables, in vain": proofs.of_two_tables(False),
            " of a broken lease": proofs.of_a_broken_lease(True),
            " of a broken lease, in vain": proofs.of_a_broken_lease(False),
        },
        Store: {"": lambda: _put(rng), " of a signed record": lambda: Store(rng.choice(batch), 1)},
        Fetch: {"": lambda: Fetch(filled_key(rng.randrange(LARGE_VALUES)), 1, True)},
        Digest: {"": digest},
        HaveList: {"": lambda: HaveList(whole, whole, 0, rng.randbytes(8 * MARKS_MAX), True)},
        HandOver: {
            "": lambda: HandOver(rng.randbytes(32), whole, 0),
            " of none": lambda: HandOver(whole, whole, 255),
            " by key": lambda: HandOver(whole, whole, 0, [filled_key(n) for n in range(BATCH_RECORDS_MAX)]),
        },
        StoreAll: {"": lambda: StoreAll(batch), " of lies": lambda: StoreAll(lies)},
        Release: {"": lambda: Release(rng.randbytes(32), rng.randbytes(32))},
        Solution: {"": lambda: Solution(rng.randbytes(20), 1)},
    }
    return {f"{kind.__name__}{how}": make for kind in QUESTIONS for how, make in made[kind].items()}


class Proofs:
    """Proofs against a peer by its own key, as long as can be: all addresses in their tables are news to whoever reads
    them.
    """

    def __init__(self, identity: Identity, culprit: Peer, signer: Ed25519Signer) -> None:
        self._identity = identity
        self._culprit = culprit
        self._signer = signer
        self._rng = random.Random()
        self._epoch = time.time_ns()

    def of_two_tables(self, is_signed: bool) -> Callable[[], Question]:
        """Show that it signed two tables as one; otherwise the last signature is wrong."""
        return self._turns(Charge.EQUIVOCATION, self._table, is_signed)

    def of_a_broken_lease(self, is_signed: bool) -> Callable[[], Question]:
        """Show that it broke a promise; otherwise the last signature is wrong."""
        return self._turns(Charge.BROKEN_LEASE, self._lease, is_signed)

    def _turns(self, charge: Charge, first: Callable[[], bytes], is_signed: bool) -> Callable[[], Question]:
        return partial(next, cycle(self._proof(charge, first(), is_signed) for _ in range(PROOFS)))

    def _proof(self, charge: Charge, first: bytes, is_signed: bool) -> Question:
        second, sign = self._table(), self._signer.sign
        return Accuse(charge, first, sign(first), second, sign(second) if is_signed else self._rng.randbytes(64))

    def _lease(self) -> bytes:
        return pack_lease(self._identity, Stamp(self._culprit, self._epoch, 1, 1), self._stranger(), 1000)

    def _table(self) -> bytes:
        neighbours, fingers, gone = (
            tuple([self._stranger() for _ in range(count)]) for count in (PEERS_TOLD_MAX, FINGERS_MAX, PEERS_TOLD_MAX)
        )
        known = tuple([self._rng.randbytes(FINGERPRINT_LENGTH) for _ in neighbours])
        said = (self._signer.public, True, None, neighbours, fingers, known, gone, 1000)
        table = Table(self._culprit, self._epoch, 2, 1, *said)
        return table_opening(self._identity, table) + table_content(table)

    def _stranger(self) -> Peer:
        # Of IPv6: the longest addresses there are.
        return self._identity.unpack(b"\x20" + self._rng.randbytes(15) + P2P_PORT.to_bytes(2, "big"))


def signed_batch(is_right: bool) -> list[RecordBody]:
    """The longest batch of signed records there is, whose signatures fit, or are only well-formed."""
    writer, value = Ed25519Signer(b"\1" * 32), b"v"
    digest = sha256(value).digest()
    bodies = []
    for number in range(BATCH_RECORDS_MAX):
        salt = b"%d" % number
        signature = writer.sign(pack_record(salt, 1, digest)) if is_right else random.randbytes(64)
        seal = Seal(writer.public, salt, 1, signature)
        bodies.append(RecordBody(signed_key(writer.public, salt), value, 2, 1, b"", 60_000, 4, seal))
    return bodies


def filled_key(number: int) -> bytes:
    """The key of one of the records that fill a node; the first `LARGE_VALUES` have the longest values."""
    return sha256(b"filled %d" % number).digest()


def fill(client: Client, records: int) -> None:
    """Put so many records, all over the ring."""
    for number in range(records):
        client.put(filled_key(number), value_of(number, 60_000 if number < LARGE_VALUES else 100), 3600)
        if number % 100 == 0:
            client.get(filled_key(number))  # not faster than they are taken


def _put(rng: random.Random) -> Store:
    value = rng.randbytes(rng.choice((10, 60_000)))
    return Store(RecordBody(rng.randbytes(32), value, 0, time.time_ns() // 1_000_000, b"", 3_600_000, 4), 1)


@dataclass(frozen=True)
class Phase:
    """What a client got in some seconds, and the processor time of its node."""

    seconds: float
    gets: int
    wrong: int
    cpu_s: float

    @property
    def gets_per_s(self) -> float:
        """Gets per second."""
        return self.gets / self.seconds

    def cpu_beside(self, quiet: Phase) -> float:
        """The share of a processor that the node spent on something else than gets, which cost what they cost then."""
        return (self.cpu_s - self.gets * quiet.cpu_s / quiet.gets) / self.seconds


class Honest:
    """A client of the flooded node that reads known keys, one after another."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = [sha256(b"honest %d" % number).digest() for number in range(KEYS)]
        self._rng = random.Random(1)

    def write(self) -> None:
        """Put the values that are read from now on."""
        for number, key in enumerate(self._keys):
            self._client.put(key, value_of(number, 1000), 3600)

    def read(self, seconds: float, pid: int) -> Phase:
        """Read for so long from the node with that process id."""
        began_s, cpu_s = time.monotonic(), processor_s(pid)
        gets = wrong = 0
        while time.monotonic() - began_s < seconds:
            number = self._rng.randrange(KEYS)
            wrong += self._client.get(self._keys[number]) != value_of(number, 1000)
            gets += 1
        return Phase(time.monotonic() - began_s, gets, wrong, processor_s(pid) - cpu_s)


class Watch(Thread):
    """Looks at a process from outside: the most memory and descriptors it had."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._is_over = False
        self.rss_mib: list[float] = []
        self.descriptors: list[int] = []

    def run(self) -> None:
        """Look until `stop`."""
        while not self._is_over:
            self.rss_mib.append(rss_mib(self._pid))
            self.descriptors.append(descriptors(self._pid))
            time.sleep(SAMPLE_EVERY_S)

    def stop(self) -> None:
        """That is all."""
        self._is_over = True
        self.join()


class Listed(Thread):
    """Looks again and again whether all other nodes of a fleet list one.

    @ivar looks: lists that were looked at. @ivar without: those that it was not in.
    """

    def __init__(self, fleet: Fleet, node: int) -> None:
        super().__init__(daemon=True)
        self._fleet = fleet
        self._node = node
        self._is_over = False
        self.looks = self.without = 0

    def run(self) -> None:
        """Look until `stop`."""
        address = f"{self._fleet.host(self._node)}:{P2P_PORT}"
        clients = [self._fleet.client(number) for number in self._fleet.numbers if number != self._node]
        while not self._is_over:
            for client in clients:
                shown = client.status()["successors"]
                assert isinstance(shown, list)
                self.looks += 1
                self.without += address not in shown
            time.sleep(1)

    def stop(self) -> None:
        """That is all."""
        self._is_over = True
        self.join()


def rss_mib(pid: int) -> float:
    """A process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_s(pid: int) -> float:
    """A process's processor time."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> int:
    """A process's open descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def connected(host: str, connections: int) -> list[socket.socket]:
    """So many connections to the API of a node, or as many as it takes."""
    sockets = []
    for number in range(connections):
        address = f"127.67.{number // PORTS_PER_ADDRESS}.1"
        try:
            sockets.append(socket.create_connection((host, API_PORT), 10, (address, 0)))
        except OSError:
            break
    return sockets


def still_open(sockets: list[socket.socket]) -> int:
    """How many of them the node has not ended."""
    open_ones = 0
    for one in sockets:
        one.setblocking(False)
        with suppress(BlockingIOError):
            open_ones -= one.recv(1) == b""
        open_ones += 1
    return open_ones
