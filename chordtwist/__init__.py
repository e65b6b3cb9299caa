"""A Chord distributed hash table that people run; this page is the map of the house.

To understand it, read four modules in this order:

1. :mod:`chordtwist.core.ring`: places on the ring, and who is nearer to what.
2. :mod:`chordtwist.core.routing`: what one node knows of the ring, and the rules by which that changes.
3. :mod:`chordtwist.core.lookup`: one search under way, and whom to ask next.
4. :mod:`chordtwist.node.node`: a node over time: it answers, joins, stabilizes, leaves.

Behind the last stand the steps that take several questions: :mod:`chordtwist.node.ring.joining`,
:mod:`chordtwist.node.ring.stabilizing`, :mod:`chordtwist.node.ring.rectifying`, :mod:`chordtwist.node.ring.search`.

The folders are the layers, and each may import only what stands before it (``tests/test_layers.py`` holds the table):

=============== =====================================================================================
``core``        values and decisions: no Twisted, no clock, no chance of its own, no logging
``wire``        bytes to messages and back: no reading or writing of sockets
``node``        behaviour over time: Deferreds and a clock, never a transport; the seams in ``interfaces``
``storage``     where records live: in memory, on disk
``net``         the rim: protocols and factories, which decide nothing
``simulation``  the same node on a simulated network and clock
``app``         assembly: configuration, logging, the twistd plugin, the ``chordtwist`` command
=============== =====================================================================================
"""

__version__ = "0.1.0"
