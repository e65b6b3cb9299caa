"""Frames of the peer protocol: cutting a stream of bytes into them, with each kind's own size limit.

``length u32 || kind u8 || request id u32 || body``, big-endian; `length` counts everything behind itself. The limit of
the kind is checked as soon as the nine bytes of the opening are there, before any memory is taken for the body.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from struct import Struct

from chordtwist.core.errors import Malformed

_OPENING = Struct(">IBI")
OPENING_BYTES = _OPENING.size
_COUNTED = OPENING_BYTES - 4

Frame = tuple[int, int, bytes]
"""Kind, request id, body."""


def pack_frame(kind: int, request_id: int, body: bytes) -> bytes:
    """Pack one frame, ready to be written."""
    return _OPENING.pack(_COUNTED + len(body), kind, request_id) + body


class FrameReader:
    """Cuts whatever arrives, split or glued in any way, into frames.

    Holds at most one incomplete frame, once all frames are taken. After a `Malformed` the stream has no known beginning
    any more: the reader must not be used again.
    """

    __slots__ = ("_bytes_max", "_held", "_needed")

    def __init__(self, bytes_max: Mapping[int, int]) -> None:
        """@param bytes_max: the longest body of each kind that may arrive; other kinds may not."""
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._needed = OPENING_BYTES

    def feed(self, received: bytes) -> None:
        """Add what has come."""
        self._held += received

    def frames(self) -> Generator[Frame, None, None]:
        """Cut out the frames that are complete, in order, each when it is asked for; the others stay.

        @raise Malformed: an unknown kind, or a length its kind may not have.
        """
        # Looked at only when it can complete something: a sender of single bytes costs linear time.
        if len(self._held) < self._needed:
            return
        received = bytes(self._held)
        at, end = 0, len(received)
        self._needed = OPENING_BYTES
        try:
            while end - at >= OPENING_BYTES:
                length, kind, request_id = _OPENING.unpack_from(received, at)
                limit = self._bytes_max.get(kind)
                if limit is None:
                    raise Malformed(f"a frame of the unknown kind {kind}")
                body_bytes = length - _COUNTED
                if not 0 <= body_bytes <= limit:
                    raise Malformed(f"a frame of kind {kind} claims a body of {body_bytes} bytes; its limit is {limit}")
                start = at + OPENING_BYTES
                if end - start < body_bytes:
                    self._needed = OPENING_BYTES + body_bytes
                    break
                at = start + body_bytes
                yield kind, request_id, received[start:at]
        finally:
            del self._held[:at]

    @property
    def held_bytes(self) -> int:
        """Bytes that came and are in no frame that was cut out: mostly of one that is not complete yet."""
        return len(self._held)
