"""``chordtwist simulate``: thousands of nodes on a simulated network, in this process."""

from chordtwist.simulation.command import command

__all__ = ["command"]
