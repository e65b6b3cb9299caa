"""The targets of ``make fuzz`` take every known input, every wrecked message and any bytes at all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.wire import peer_messages as wire
from chordtwist.wire.api_messages import unpack_state
from tests.fuzz_targets import FOUND, TARGETS, messages_of_peers

names = st.sampled_from(sorted(TARGETS))


@st.composite
def wrecks(draw: st.DrawFn, name: str) -> bytes:
    """A seed with some of its bytes changed, taken out or put in."""
    raw = bytearray(draw(st.sampled_from(TARGETS[name].seeds())))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(raw)


class TargetTests(SynchronousTestCase):
    """No parser does what it may not."""

    def test_known_inputs(self) -> None:
        """Seeds are taken, and so is what once broke a target."""
        for target in TARGETS.values():
            for raw in (*target.seeds(), *(path.read_bytes() for path in FOUND.glob(f"{target.name}/*"))):
                target.feed(raw)

    @given(names, st.binary(max_size=400))
    def test_any_bytes(self, name: str, raw: bytes) -> None:
        """Any bytes are a message or malformed."""
        TARGETS[name].feed(raw)

    @given(names.flatmap(lambda name: st.tuples(st.just(name), wrecks(name))))
    def test_wrecked_messages(self, wreck: tuple[str, bytes]) -> None:
        """Messages with a few bytes changed are messages or malformed."""
        name, raw = wreck
        TARGETS[name].feed(raw)

    def test_every_kind_is_a_seed(self) -> None:
        """The search begins from messages of all kinds."""
        self.assertEqual(set(wire.MESSAGES), {type(message) for message in messages_of_peers()})

    def test_text_that_is_no_utf8(self) -> None:
        """Text that is no UTF-8 is malformed, not a bug of ours."""
        self.assertRaises(Malformed, wire.decode, wire.Goodbye.kind, b"\x91\xa2\xff\xfe")

    def test_endless_nesting(self) -> None:
        """Arrays within arrays, where a newer build could append fields, are malformed, not a bug of ours."""
        ping = bytes((0x91,)) + b"\x91" * 200 + b"\x90"
        store = b"\x94" + wire.encode(next(m for m in messages_of_peers() if isinstance(m, wire.Store)))[1:]
        self.assertRaises(Malformed, wire.decode, wire.Store.kind, store + b"\x91" * 60_000 + b"\x90")
        self.assertEqual(wire.Ping(), wire.decode(wire.Ping.kind, ping))
        for message in wire.MESSAGES:
            for nested in (b"\x91", b"\x81\xa1a"):
                for depth in (1_000, 5_000):
                    try:
                        wire.decode(message.kind, nested * depth + b"\x90")
                    except Malformed:
                        continue  # else nothing is demanded there, and what is nested is skipped
        self.assertRaises(Malformed, unpack_state, b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
