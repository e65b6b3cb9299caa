"""Records in a simulated world: put, read, and held against what was promised when their puts were confirmed.

Promised is: what was confirmed is read as long as any copy of it lives; one repair round after a newer value was
confirmed no older one is read, not even when the newer one has expired since; nothing is read after its expiry; and
what is read was put.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure

from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.records import PutResult, Record, Version
from chordtwist.node.records.repair import ROUND_S
from chordtwist.simulation.chance import pick
from chordtwist.simulation.clock import SECOND_US, microseconds
from chordtwist.simulation.workload import Repeated, any_member
from chordtwist.simulation.world import World

LATE_US = 1_000_000
"""A read may end so long after the expiry of what it found: the delay of one answer, on a slow path."""

TTL_S = 24 * 3600.0
"""How long records live unless a scenario says otherwise."""

OVERWRITES_SHARE = 4
"""One put in so many goes to a key that has a value already."""

ENDED_US = 600 * SECOND_US
"""So long after the end of everything that was put under a key it is still read now and then: nothing may come back."""

KEYS_BETWEEN_LOOKS = 256
"""New keys after which it is time to forget those that ended long ago."""

VIOLATIONS_SHOWN = 20

NEVER_US = 1 << 62

Told = Callable[[Record | None], object]


class Put:
    """One put. Until it is confirmed its version is not known: older than any."""

    __slots__ = ("began_us", "confirmed_us", "expiry_us", "value", "version")

    def __init__(self, value: bytes, began_us: int, ttl_us: int) -> None:
        self.value = value
        self.began_us = began_us
        self.expiry_us = began_us + ttl_us
        self.confirmed_us = NEVER_US
        self.version = Version(-1, b"")


class Records:
    """Random members put records and read them back."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.value_bytes = 64
        self.ttl_s: Callable[[], float] = lambda: TTL_S
        """Asked for every put."""
        self.newest: dict[bytes, Put] = {}
        """By key, the confirmed put of the newest version."""
        self.put = 0
        self.refused = 0
        self.stored = 0
        self.reads = 0
        self.read_right = 0
        self.unreadable = 0
        """Reads that found nothing although a copy lived, while the ring was changing."""
        self.denied = 0
        """Those of them that said there is nothing; the others, that too few answered to know."""
        self.violated = 0
        self.violations: list[str] = []
        self._puts: dict[bytes, dict[bytes, Put]] = {}
        """By key and value; no two puts have one value."""
        self._keys: list[bytes] = []
        """Those that have been confirmed, to choose from."""
        self._repeated: list[Repeated] = []

    def begin(self, puts_per_second: float, reads_per_second: float) -> None:
        """Put and read from now on, until `stop`."""
        self.stop()
        if puts_per_second:
            self._repeated.append(Repeated(self.world, puts_per_second, self.put_once))
        if reads_per_second:
            self._repeated.append(Repeated(self.world, reads_per_second, self.read_once))

    def stop(self) -> None:
        """No more."""
        for repeated in self._repeated:
            repeated.stop()
        self._repeated.clear()

    # Putting

    def put_once(self, key: bytes | None = None, ttl_s: float | None = None) -> None:
        """Put a random value at a random member, under a random key unless one is named."""
        world, rng = self.world, self.world.rng
        putter = any_member(world)
        if putter is None:
            return
        if key is None:
            overwrites = self._keys and not rng.getrandbits(32) % OVERWRITES_SHARE
            key = pick(rng, self._keys) if overwrites else rng.getrandbits(256).to_bytes(32, "big")
        value = rng.getrandbits(8 * self.value_bytes).to_bytes(self.value_bytes, "big")
        if ttl_s is None:
            ttl_s = self.ttl_s()
        put = Put(value, world.clock.now_us, microseconds(ttl_s))
        self._puts.setdefault(key, {})[value] = put
        self.put += 1
        link = world.live[putter].link

        def confirmed(result: PutResult) -> None:
            if not link.ended:
                self._confirmed(key, put, result)

        world.node(putter).put(key, value, ttl_s).addCallbacks(confirmed, self._refused)

    def _confirmed(self, key: bytes, put: Put, result: PutResult) -> None:
        self.stored += 1
        put.confirmed_us = self.world.clock.now_us
        put.version = result.version
        newest = self.newest.get(key)
        if newest is None:
            self._keys.append(key)
            if len(self._keys) % KEYS_BETWEEN_LOOKS == 0:
                self._forget()
        if newest is None or newest.version < result.version:
            self.newest[key] = put

    def _refused(self, failure: Failure) -> None:
        failure.trap(Refused, Unreachable)
        self.refused += 1

    def _forget(self) -> None:
        """Keys whose last value ended long ago: a long run must not remember them all."""
        before_us = self.world.clock.now_us - ENDED_US
        for key, puts in list(self._puts.items()):
            if all(put.expiry_us < before_us for put in puts.values()):
                del self._puts[key]
                self.newest.pop(key, None)
        self._keys = [key for key in self._keys if key in self._puts]

    # Reading

    def read_once(self, key: bytes | None = None, finally_: bool = False, told: Told | None = None) -> None:
        """Read at a random member something that was confirmed, anything unless a key is named.

        @param finally_: the ring has come to rest: what has a living copy must be found.
        """
        world = self.world
        reader = any_member(world)
        if reader is None or (key is None and not self._keys):
            return
        if key is None:
            key = pick(world.rng, self._keys)
        began_us = world.clock.now_us
        link = world.live[reader].link

        def read(found: Record | Failure | None) -> None:
            record: Record | None = None
            if isinstance(found, Failure):
                found.trap(Unreachable)
            else:
                record = found
            if reader in world.leaving or reader not in world.live or world.live[reader].link is not link:
                return  # who ends, ends its reads
            if key in self.newest:
                unreadable = self.unreadable
                self.judge(key, began_us, record, finally_)
                if found is None:
                    self.denied += self.unreadable - unreadable
                if told is not None:
                    told(record)

        world.node(reader).get(key).addBoth(read)

    def judge(self, key: bytes, began_us: int, record: Record | None, finally_: bool = False) -> None:
        """Hold what a read answered, that began then and ends now, against what was promised."""
        self.reads += 1
        if record is None:
            if self._may_be_nothing(key, began_us):
                self.read_right += 1
                return
            self.unreadable += 1
            if finally_:
                holders = self.holders(key, self.newest[key], Record)
                self._violate(f"{key.hex()[:12]} is not read though {' '.join(holders)} keep it")
            return
        now_us = self.world.clock.now_us
        put = self._puts[key].get(record.value)
        if put is None:
            self._violate(f"{key.hex()[:12]}: a value was read that nobody put")
        elif now_us > put.expiry_us + LATE_US:
            self._violate(f"{key.hex()[:12]} was read {(now_us - put.expiry_us) / 1e6:.3f} s after its expiry")
        elif (newer := self._newer(key, put, record.version, began_us)) is not None:
            since_s = (began_us - newer.confirmed_us) / 1e6
            ended = " and expired" if newer.expiry_us <= began_us else ""
            self._violate(
                f"{key.hex()[:12]}: an older value was read {since_s:.1f} s after a newer was confirmed{ended}"
            )
        else:
            self.read_right += 1

    def _may_be_nothing(self, key: bytes, began_us: int) -> bool:
        now_us = self.world.clock.now_us
        newest = self.newest[key]
        if newest.expiry_us <= now_us or newest.confirmed_us > began_us:
            return True
        return self._may_have_been_ended(key) or not self.holders(key, newest, Record)

    def _may_have_been_ended(self, key: bytes) -> bool:
        """Whether something was put that was never confirmed: it may have stood there all the same, and ended since."""
        now_us = self.world.clock.now_us
        return any(put.confirmed_us == NEVER_US and put.expiry_us <= now_us for put in self._puts[key].values())

    def _newer(self, key: bytes, put: Put, version: Version, began_us: int) -> Put | None:
        """Find a put that must have replaced `put`, which was read as `version`, long before the read began."""
        if self.world.check.suspended:  # one side of a partition cannot know what the other confirmed
            return None
        long_before_us = began_us - microseconds(ROUND_S)
        for other in self._puts[key].values():
            # Newer is what has the newer version; and whatever the clocks said, what began when this was confirmed.
            is_newer = version < other.version or put.confirmed_us < other.began_us
            if is_newer and other.confirmed_us < long_before_us and self._was_there(key, other, began_us):
                return other
        return None

    def holders(self, key: bytes, put: Put, kind: type = object) -> list[str]:
        """Live nodes that keep the version of a confirmed put or a newer one, as a record or, of any kind, a
        tombstone.
        """
        return [
            str(peer)
            for peer, host in self.world.live.items()
            if isinstance(versioned := host.store.get(key), kind)
            and versioned is not None
            and versioned.version >= put.version
        ]

    def _was_there(self, key: bytes, put: Put, began_us: int) -> bool:
        """Whether somebody keeps the version of `put`, or a newer one that was confirmed before the read began: when
        all copies were lost, what is being put meanwhile does not say that it was there.
        """
        newer = [other.version for other in self._puts[key].values() if other.confirmed_us < began_us]
        versions = {version for version in newer if version >= put.version}
        versioned = (host.store.get(key) for host in self.world.live.values())
        return any(one is not None and one.version in versions for one in versioned)

    def _violate(self, what: str) -> None:
        self.violated += 1
        self.world.trace.line(self.world.clock.now_us, "!! record {}", what)
        if len(self.violations) < VIOLATIONS_SHOWN:
            self.violations.append(f"{self.world.now_s:.3f} {what}")

    # The end of a run

    def read_everything(self) -> tuple[int, int, int]:
        """Read every record that should be there at random members, in a ring that has come to rest.

        Answers with how many there should be, how many were read in their newest version, and of how many no copy was
        left alive anywhere when they were asked for.
        """
        world = self.world
        soon_us = world.clock.now_us + 60 * SECOND_US
        due = [key for key in self._keys if self.newest[key].expiry_us > soon_us and not self._may_have_been_ended(key)]
        read: dict[bytes, None] = {}
        gone: dict[bytes, None] = {}
        for key in due:
            # Who took the put may bring it back: while it is read, or later.
            was_kept = bool(self.holders(key, self.newest[key], Record))

            def got(record: Record | None, key: bytes = key, was_kept: bool = was_kept) -> None:
                if record is not None and record.version >= self.newest[key].version:
                    read[key] = None
                elif not was_kept or not self.holders(key, self.newest[key], Record):
                    gone[key] = None

            self.read_once(key, finally_=was_kept, told=got)
            world.run(0.01)
        world.run(15)
        return len(due), len(read), len(gone)
