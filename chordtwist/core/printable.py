"""How a text that came from outside is shown: in a log, in a status, on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Escape whatever is no visible sign and no space, as Python writes it: ``\\x1b``, ``\\n``, ``\\u202e``.

    So it can neither open a second line, nor move the cursor or change the colours of a terminal, nor turn the order in
    which the rest of its line is read.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def printable_lines(text: str) -> str:
    """Do the same with a text that we have made of lines; its own ends of lines stay."""
    return "\n".join(map(printable, text.split("\n")))
