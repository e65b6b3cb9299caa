"""Frames of the peer protocol: cutting a stream of bytes into them, with each kind's own size limit.

``length u32 || kind u8 || request id u32 || body``, big-endian; `length` counts everything behind itself. The limit of
the kind is checked as soon as the nine bytes of the opening are there, before any memory is taken for the body.
"""

from __future__ import annotations

from collections.abc import Mapping
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

    Holds at most one incomplete frame. After a `Malformed` the stream has no known beginning any more: the reader
    must not be fed again.
    """

    def __init__(self, bytes_max: Mapping[int, int]) -> None:
        """@param bytes_max: the longest body of each kind that may arrive; other kinds may not."""
        self._bytes_max = bytes_max
        self._held = bytearray()
        self._needed = OPENING_BYTES

    def feed(self, received: bytes) -> list[Frame]:
        """Cut out the frames that `received` completes, in order.

        @raise Malformed: an unknown kind, or a length its kind may not have. Complete frames in front of it in the same
            bytes are lost with it: the link ends anyway.
        """
        if self._held:
            # Appended, and looked at only when it can complete something: a sender of single bytes costs linear time.
            self._held += received
            if len(self._held) < self._needed:
                return []
            received = bytes(self._held)
        frames: list[Frame] = []
        at, end = 0, len(received)
        self._needed = OPENING_BYTES
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
            frames.append((kind, request_id, received[start:at]))
        self._held = bytearray(received[at:])
        return frames

    @property
    def held_bytes(self) -> int:
        """Bytes of the frame that is not complete yet."""
        return len(self._held)
