"""``python -m chordtwist.simulation``: the command ``chordtwist simulate``."""

from chordtwist.simulation.command import command

if __name__ == "__main__":
    command()
