"""Records in a simulated world: put, read, and held against what was promised when their puts were confirmed.

Promised is: what was confirmed is read as long as any copy of it lives; one repair round after a newer version was
confirmed no older one is read; nothing is read after its expiry; and what is read was put.
"""

from __future__ import annotations

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.peer import Peer
from chordtwist.core.records import PutResult, Record, Version
from chordtwist.node.repair import ROUND_S
from chordtwist.simulation.chance import pick, waiting_us
from chordtwist.simulation.clock import SECOND_US, microseconds
from chordtwist.simulation.workload import any_member
from chordtwist.simulation.world import World

LATE_US = 1_000_000
"""A read may end so long after the expiry of what it found: the delay of one answer, on a slow path."""

OVERWRITES_SHARE = 4
"""One put in so many goes to a key that has a value already."""


class Put:
    """One confirmed put."""

    __slots__ = ("confirmed_us", "expiry_us", "value", "version")

    def __init__(self, value: bytes, version: Version, confirmed_us: int, expiry_us: int) -> None:
        self.value = value
        self.version = version
        self.confirmed_us = confirmed_us
        self.expiry_us = expiry_us


class Records:
    """Random members put records and read them back."""

    def __init__(self, world: World, ttl_s: float = 24 * 3600, value_bytes: int = 64) -> None:
        self.world = world
        self.ttl_s = ttl_s
        self.value_bytes = value_bytes
        self.confirmed: dict[bytes, list[Put]] = {}
        """By key, every confirmed put, newest last."""
        self.put = 0
        self.refused = 0
        self.stored = 0
        self.reads = 0
        self.read_right = 0
        self.unreadable = 0
        """Reads that found nothing although a copy lived, while the ring was changing."""
        self.violated = 0
        self.violations: list[str] = []
        self._values: dict[bytes, dict[bytes, None]] = {}
        self._keys: list[bytes] = []
        self._running: object | None = None

    def begin(self, puts_per_second: float, reads_per_second: float) -> None:
        """Put and read from now on, until `stop`."""
        self._running = running = object()
        for per_second, once in ((puts_per_second, self.put_once), (reads_per_second, self.read_once)):
            if per_second:
                self._again(running, int(SECOND_US / per_second), once)

    def _again(self, running: object, mean_us: int, once: object) -> None:
        world = self.world

        def due(_: None) -> None:
            if self._running is running:
                once()  # type: ignore[operator]
                self._again(running, mean_us, once)

        world.clock.at(world.clock.now_us + waiting_us(world.rng, mean_us), due, None)

    def stop(self) -> None:
        """No more."""
        self._running = None

    # Putting

    def put_once(self, at: Peer | None = None, key: bytes | None = None) -> None:
        """A random member, or this one, puts a random value."""
        world, rng = self.world, self.world.rng
        putter = any_member(world) if at is None else at
        if putter is None:
            return
        if key is None:
            overwrites = self._keys and not rng.getrandbits(32) % OVERWRITES_SHARE
            key = pick(rng, self._keys) if overwrites else rng.getrandbits(256).to_bytes(32, "big")
        value = rng.getrandbits(8 * self.value_bytes).to_bytes(self.value_bytes, "big")
        if key not in self._values:
            self._values[key] = {}
        self._values[key][value] = None
        self.put += 1
        began_us = world.clock.now_us
        link = world.live[putter].link

        def confirmed(result: PutResult) -> None:
            if link.ended:
                return
            self.stored += 1
            if key not in self.confirmed:
                self.confirmed[key] = []
                self._keys.append(key)
            expiry_us = began_us + microseconds(self.ttl_s)
            puts = self.confirmed[key]
            puts.append(Put(value, result.version, world.clock.now_us, expiry_us))
            puts.sort(key=lambda put: put.version)

        world.node(putter).put(key, value, self.ttl_s).addCallbacks(confirmed, self._refused)

    def _refused(self, failure: object) -> None:
        failure.trap(Refused, Unreachable)  # type: ignore[attr-defined]
        self.refused += 1

    # Reading

    def read_once(self, at: Peer | None = None, key: bytes | None = None, finally_: bool = False) -> None:
        """A random member, or this one, reads something that was confirmed."""
        world = self.world
        reader = any_member(world) if at is None else at
        if reader is None or (key is None and not self._keys):
            return
        if key is None:
            key = pick(world.rng, self._keys)
        began_us = world.clock.now_us
        link = world.live[reader].link

        def read(record: Record | None) -> None:
            if not link.ended:
                self._judge(key, began_us, record, finally_)

        world.node(reader).get(key).addCallback(read)

    def _judge(self, key: bytes, began_us: int, record: Record | None, finally_: bool) -> None:
        self.reads += 1
        now_us = self.world.clock.now_us
        puts = self.confirmed[key]
        promised = [put for put in puts if put.confirmed_us + microseconds(ROUND_S) < began_us]
        if record is None:
            newest = puts[-1]
            if newest.expiry_us <= now_us or newest.confirmed_us > began_us:
                self.read_right += 1
            elif self.holders(key, newest.version):
                self.unreadable += 1
                if finally_:
                    self._violate(f"{key.hex()[:12]} is not read though {self.holders(key, newest.version)} keep it")
            return
        if record.value not in self._values[key]:
            self._violate(f"{key.hex()[:12]}: a value was read that nobody put")
            return
        of_version = [put for put in puts if put.version == record.version]
        if of_version and now_us > of_version[0].expiry_us + LATE_US:
            late_s = (now_us - of_version[0].expiry_us) / 1e6
            self._violate(f"{key.hex()[:12]} was read {late_s:.3f} s after its expiry")
            return
        if self.world.check.suspended:  # one side of a partition cannot know what the other confirmed
            promised = []
        if promised and record.version < promised[-1].version and promised[-1].expiry_us > now_us:
            newer = promised[-1]
            if self.holders(key, newer.version):
                since_s = (began_us - newer.confirmed_us) / 1e6
                self._violate(
                    f"{key.hex()[:12]}: an older version was read {since_s:.1f} s after a newer was confirmed"
                )
                return
        self.read_right += 1

    def holders(self, key: bytes, version: Version) -> list[str]:
        """Live members that keep that version or a newer one."""
        return [
            str(peer)
            for peer, host in self.world.live.items()
            if isinstance(kept := host.store.get(key), Record) and kept.version >= version
        ]

    def _violate(self, what: str) -> None:
        self.violated += 1
        self.world.trace.line(self.world.clock.now_us, "!! record {}", what)
        if len(self.violations) < 20:
            self.violations.append(f"{self.world.now_s:.3f} {what}")

    # The end of a run

    def read_everything(self) -> tuple[int, int, int]:
        """Read every record that should be there at random members, in a ring that has come to rest.

        Answers with how many there should be, how many were read in their newest version, and of how many no copy was
        left alive anywhere.
        """
        world = self.world
        due = [key for key in self._keys if self.confirmed[key][-1].expiry_us > world.clock.now_us + 60 * SECOND_US]
        read: dict[bytes, None] = {}
        for key in due:
            reader = any_member(world)
            if reader is None:
                break

            def got(record: Record | None, key: bytes = key) -> None:
                if record is not None and record.version >= self.confirmed[key][-1].version:
                    read[key] = None
                self._judge(key, world.clock.now_us, record, True)

            world.node(reader).get(key).addCallback(got)
            world.run(0.01)
        world.run(15)
        gone = sum(1 for key in due if key not in read and not self.holders(key, self.confirmed[key][-1].version))
        return len(due), len(read), gone
