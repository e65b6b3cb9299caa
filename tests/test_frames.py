"""`FrameReader`: streams cut into frames, whatever way they arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.wire.frames import OPENING_BYTES, Frame, FrameReader, pack_frame

LIMITS = {1: 10, 2: 100_000}

frames = st.tuples(st.sampled_from([1, 2]), st.integers(0, 0xFFFFFFFF), st.binary(max_size=10))


class PackTests(SynchronousTestCase):
    """Bytes of a frame."""

    def test_layout(self) -> None:
        """Length of what follows, kind, request id, body; all big-endian."""
        self.assertEqual(pack_frame(3, 0x01020304, b"abc"), b"\0\0\0\x08\x03\x01\x02\x03\x04abc")

    def test_empty_body(self) -> None:
        """A body may be empty."""
        self.assertEqual(pack_frame(1, 0, b""), b"\0\0\0\x05\x01\0\0\0\0")


class FeedTests(SynchronousTestCase):
    """What a reader makes of a stream."""

    def setUp(self) -> None:
        """A reader at the beginning of a stream."""
        self.reader = FrameReader(LIMITS)

    def fed(self, received: bytes) -> list[Frame]:
        """The frames that are complete with these bytes."""
        self.reader.feed(received)
        return list(self.reader.frames())

    @given(st.lists(frames), st.data())
    def test_any_pieces(self, sent: list[tuple[int, int, bytes]], data: st.DataObject) -> None:
        """The frames of a stream are those that were written, in order, however it was split and glued."""
        stream = b"".join(pack_frame(*frame) for frame in sent)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        reader = FrameReader(LIMITS)
        read: list[Frame] = []
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            reader.feed(stream[begin:end])
            read += reader.frames()
        self.assertEqual(read, sent)
        self.assertEqual(reader.held_bytes, 0)

    def test_held(self) -> None:
        """What has begun and not ended is held, and nothing else."""
        self.fed(pack_frame(1, 5, b"whole") + pack_frame(2, 6, b"half of it")[:12])
        self.assertEqual(self.reader.held_bytes, 12)
        self.assertEqual(self.fed(b"f of i"), [])
        self.assertEqual(self.fed(b"t"), [(2, 6, b"half of it")])
        self.assertEqual(self.reader.held_bytes, 0)

    def test_limit(self) -> None:
        """A body may be as long as its kind allows, and no longer."""
        self.assertEqual(self.fed(pack_frame(1, 0, bytes(10))), [(1, 0, bytes(10))])
        error = self.assertRaises(Malformed, self.fed, pack_frame(1, 0, bytes(11))[:OPENING_BYTES])
        self.assertIn("11", str(error))

    def test_limit_before_the_body(self) -> None:
        """A length of four gigabytes is refused at its opening, before a byte of the body is waited for."""
        self.assertRaises(Malformed, self.fed, b"\xff\xff\xff\xff\x01\0\0\0\0")

    def test_length_without_its_own_fields(self) -> None:
        """A length that does not even cover kind and request id is refused."""
        self.assertRaises(Malformed, self.fed, b"\0\0\0\x04\x01\0\0\0\0")

    def test_unknown_kind(self) -> None:
        """A kind without a limit is refused."""
        self.assertRaises(Malformed, self.fed, pack_frame(3, 0, b""))

    def test_refused_in_the_second_piece(self) -> None:
        """The check waits for the whole opening, across pieces."""
        self.assertEqual(self.fed(b"\xff\xff\xff\xff\x01\0\0\0"), [])
        self.assertRaises(Malformed, self.fed, b"\0")

    @given(st.binary(max_size=200))
    def test_anything(self, stream: bytes) -> None:
        """No bytes lead to anything but frames or `Malformed`, nor is more held than came."""
        reader = FrameReader(LIMITS)
        try:
            reader.feed(stream)
            read = list(reader.frames())
        except Malformed:
            return
        taken = sum(OPENING_BYTES + len(body) for _, _, body in read)
        self.assertEqual(reader.held_bytes + taken, len(stream))
