"""The next build of a node, as far as others can see it: ``python -m tests.next_build run -c FILE``.

It speaks one protocol version more, and appends a field to every message, which those that run now have to ignore.
"""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.core import parameters
from chordtwist.wire import peer_messages

FIXARRAY, FIXARRAY_LONGEST = 0x90, 0x9F
NIL = b"\xc0"

encode_now: Callable[[object], bytes] = peer_messages.encode


def encode(message: object) -> bytes:
    """The body of a message with one field more (msgpack: an array of up to 15 has its length in its first byte)."""
    body = encode_now(message)
    assert FIXARRAY <= body[0] < FIXARRAY_LONGEST, body[:1]
    return bytes((body[0] + 1,)) + body[1:] + NIL


if __name__ == "__main__":
    # Before anything else imports them by name.
    parameters.PROTOCOL_VERSION_MAX += 1
    peer_messages.encode = encode
    from chordtwist.app.cli import main

    main()
