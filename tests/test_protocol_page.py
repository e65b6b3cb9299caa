"""docs/protocol.rst lists every message between nodes as it is."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.wire.peer_messages import MESSAGES, Question
from tests import CHECKOUT

PAGE = CHECKOUT / "docs" / "protocol.rst"
ROW = re.compile(
    r"   \* - (\d+)\n     - ``(\w+)\(([^)]*)\)``\n     - ([\d,]+)\n     -(?: ([\d.]+) s)?\n     - (\S.+)\n"
)


class MessageTableTests(SynchronousTestCase):
    """The table of messages."""

    def test_every_message(self) -> None:
        """None is missing, none is invented; number, fields, limit and waiting time are those of the code."""
        told = [row[:5] for row in ROW.findall(PAGE.read_text())]
        meant = [
            (
                str(message.kind),
                message.__name__,
                ", ".join(message.__struct_fields__),
                f"{message.body_bytes_max:,}",
                f"{message.answer_within_s:g}" if issubclass(message, Question) else "",
            )
            for message in MESSAGES
        ]
        self.assertEqual(meant, told)
