"""A Chord distributed hash table that people run; this page is the map of the house.

To understand it, read four modules in this order:

1. :mod:`chordtwist.core.ring`: places on the ring, and who is nearer to what.
2. :mod:`chordtwist.core.routing`: what one node knows of the ring, and the rules by which that changes.
3. :mod:`chordtwist.core.lookup`: one search under way, and whom to ask next.
4. :mod:`chordtwist.node.node`: a node over time: it answers, joins, stabilizes, leaves.

The folders are the layers, and each may import only what stands before it (``tests/test_layers.py`` holds the table):

=============== =====================================================================================
``core``        values and decisions: no Twisted, no clock, no chance of its own, no logging
``wire``        bytes to messages and back: no reading or writing of sockets
``node``        behaviour over time: Deferreds and a clock, never a transport; the seams in ``interfaces``
``storage``     where records live: in memory, on disk
``net``         the rim: protocols and factories, which decide nothing
``simulation``  the same node on a simulated network and clock
``app``         assembly: configuration, logging, the twistd plugin, the ``chordtwist`` command
``aio``         the API from asyncio, on ``wire`` alone
=============== =====================================================================================

Where to look for what:

==================================== ================================================================
becoming a member                    ``node/ring``: ``bootstrap`` (whom to ask), ``joining`` (the newcomer's side),
                                     ``announcing`` (the same in a small ring), ``admission`` (the members' side),
                                     ``membership`` (what one node is just now)
keeping the pointers right           ``node/ring``: ``stabilizing`` and ``rectifying`` (Zave's operations), ``fingers``,
                                     ``uniting`` (whom others name), ``member_checks``, ``merging`` (two rings become
                                     one), ``comparing`` and ``core/ring_sizes`` (which is larger)
who is dead                          ``core/liveness`` (the rule), ``node/ring/probing`` (the questions)
finding a place on the ring          ``core/lookup``, ``core/witnesses`` (whom to believe), ``core/address_book`` (whom
                                     we met), ``node/ring/search``, ``node/ring/searches``
who lies, and what follows           ``core/conduct`` (suspicion), ``core/leases``, ``core/receipts``, ``core/evidence``
                                     (proofs); ``node/ring``: ``self_lookup``, ``watch``, ``judgement``,
                                     ``node/records/auditing``
what a node says of itself           ``core/table``, ``core/signed`` (bytes), ``node/ring/statements``; others' words:
                                     ``node/ring/tables``
a record                             ``core/records``, ``core/versions``, ``core/reading``, ``core/writing`` (the rules)
which of several values              ``core/replicas`` (who keeps it), ``core/claims`` and ``core/hearsay`` (what is
                                     believed)
put and get                          ``node/records``: ``hash_table`` (what doors ask), ``puts``, ``reads``,
                                     ``publishing``, ``replica`` (what other nodes ask)
enough copies                        ``node/records``: ``repair``, ``reconciling``, ``stray_records``, ``served_arcs``
bytes of messages                    ``wire/frames``, ``wire/peer_messages``, ``wire/api_messages``
one link to a peer, all of them      ``net/peer_protocol``, ``net/peer_pool``, ``net/dialling``, ``net/known_peers``
the door for programs                ``net/api``; clients on ``wire/api_exchange``: ``net/client`` (Twisted),
                                     ``net/blocking_client`` (the commands)
what it costs, and who pays          ``core/costs``, ``core/allowance``, ``core/quotas``, ``net/bounds``,
                                     ``net/client_puzzles``, ``node/ring/dial_limits``
a process                            ``app/config``, ``app/service``, ``app/plugin``, ``app/cli``, ``app/event_loop``
what people ask to see               ``node/inspection``: ``node/ring/ring_walk``, ``node/records/inspecting``; over the
                                     API ``app/operations``, ``net/operating``
backup and restoring                 ``node/records/backup``, ``node/records/restoring``
is it well, what happened            ``core/health``, ``core/events``, ``app/health_watch``
many runs at once                    ``simulation/sweep`` (seeds to workers), ``simulation/shrink`` (what fails)
how liars lie                        ``simulation/adversaries``, ``simulation/byzantine`` (what that comes to)
==================================== ================================================================

What programs need is here, loaded when it is first used: `connect` (Twisted), `aio.connect` (asyncio), `Node` (a node
in one's own program), the errors that they raise, and what makes keys and seals.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chordtwist import aio as aio
    from chordtwist.app.embedding import Node as Node
    from chordtwist.app.service import StartError as StartError
    from chordtwist.core.errors import ChordtwistError as ChordtwistError
    from chordtwist.core.errors import ConfigurationError as ConfigurationError
    from chordtwist.core.errors import Malformed as Malformed
    from chordtwist.core.errors import NodeGone as NodeGone
    from chordtwist.core.errors import Refused as Refused
    from chordtwist.core.errors import Unreachable as Unreachable
    from chordtwist.core.records import PutResult as PutResult
    from chordtwist.core.records import Seal as Seal
    from chordtwist.core.records import key_of as key_of
    from chordtwist.core.records import seal as seal
    from chordtwist.core.records import signed_key as signed_key
    from chordtwist.core.signed import Ed25519Signer as Ed25519Signer
    from chordtwist.net.client import DhtClient as DhtClient
    from chordtwist.net.client import connect as connect

__version__ = "0.1.0"

_HOMES = {
    "chordtwist.app.embedding": ("Node",),
    "chordtwist.app.service": ("StartError",),
    "chordtwist.core.errors": (
        "ChordtwistError",
        "ConfigurationError",
        "Malformed",
        "NodeGone",
        "Refused",
        "Unreachable",
    ),
    "chordtwist.core.records": ("PutResult", "Seal", "key_of", "seal", "signed_key"),
    "chordtwist.core.signed": ("Ed25519Signer",),
    "chordtwist.net.client": ("DhtClient", "connect"),
}

__all__ = ["aio", *(name for names in _HOMES.values() for name in names)]


def __getattr__(name: str) -> Any:
    """Load what is asked for: a program that talks to a node needs no node, and one of asyncio no Twisted."""
    if name == "aio":
        return import_module("chordtwist.aio")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
