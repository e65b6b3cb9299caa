"""The trace of a ring: every change of what one node is and points at, for `tools/traces.py` to check by the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

from chordtwist.core.peer import Peer

if TYPE_CHECKING:
    from chordtwist.node.node import Node

Step = dict[str, Any]
"""One line: "at_ms", by a clock that all nodes of the trace have in common; "node", "action", and what changed."""


def line_of(file: TextIO) -> Callable[[Step], object]:
    """Make what writes each step to a file, as one line of JSON."""
    return lambda step: file.write(json.dumps(step) + "\n")


class RingTrace:
    """Follows one node: it starts, goes live, changes, is a member no more ("out"), ends."""

    def __init__(self, node: Node, now_ms: Callable[[], int], write: Callable[[Step], object]) -> None:
        """Follow a node from now on, before it is started.

        @param write: told each step, before anybody can be told of what changed.
        """
        self._node = node
        self._now_ms = now_ms
        self._write = write
        self._gone: dict[Peer, None] = {}
        self._was: tuple[object, ...] = ()
        self._ended = False
        node.membership.when_changed.insert(0, self._look)
        node.membership.when_dropped.append(self._dropped)
        self._tell("start", id=f"{node.me.id:064x}")

    def ended(self) -> None:
        """Note that the process of the node has ended."""
        if not self._ended:
            self._ended = True
            self._tell("end")

    def _dropped(self, peer: Peer, was_head: bool) -> None:
        self._gone[peer] = None

    def _look(self) -> None:
        routing, is_member = self._node.routing, self._node.is_member
        was_member = bool(self._was) and self._was[0]
        now = (is_member, routing.predecessor, routing.successors, routing.whole)
        if self._ended or now == self._was or not (is_member or was_member):
            return
        self._was = now
        if not is_member:
            self._tell("out")
            return
        before = routing.predecessor
        gone = [*self._gone, *(peer for peer in routing.removed if peer not in self._gone)]
        # Who is given up as predecessor is replaced later, when somebody else notifies.
        self._gone = {peer: None for peer in self._gone if peer == before}
        self._tell(
            "changed" if was_member else "live",
            predecessor=None if before is None else str(before),
            successors=[str(peer) for peer in routing.successors],
            whole=routing.whole,
            gone=[str(peer) for peer in gone],
        )

    def _tell(self, action: str, **changed: object) -> None:
        self._write({"at_ms": self._now_ms(), "node": str(self._node.me), "action": action, **changed})
