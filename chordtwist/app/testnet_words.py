"""What somebody types to a testnet: words to what is done with its nodes, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable

from chordtwist.app.testnet import Testnet
from chordtwist.app.testnet_load import Load
from chordtwist.core.errors import Refused

TYPED_WORDS = ("kill", "pause", "resume", "leave", "add", "load", "help", "quit")
HELP = "kill N, pause N, resume N, leave N (3 or 3-5), add COUNT, load PER_SECOND, quit"
NUMBERS_MAX = 200
ADDED_AT_ONCE_MAX = 100
LOAD_MAX = 2_000


class Mistyped(ValueError):
    """What was typed is nothing that can be done; the reason is for people."""


class Words:
    """Does what is typed.

    @ivar is_over: whether somebody has typed quit.
    """

    def __init__(self, testnet: Testnet, load: Load) -> None:
        self.is_over = False
        self.has_touched = False
        """Whether what was done last concerns the ring: somebody came, went, or fell silent."""
        self._testnet = testnet
        self._under_load = load

    def do(self, typed: str) -> str:
        """Do what one line says, and say what was done.

        @raise Mistyped: it says nothing that can be done.
        """
        words = typed.split("#")[0].replace(",", " ").split()
        if not words:
            return ""
        name, *rest = words
        found = [word for word in TYPED_WORDS if word.startswith(name.lower())]
        if len(found) != 1:
            raise Mistyped(f"{name!r} is no word here; they are {', '.join(TYPED_WORDS)}")
        self.has_touched = found[0] in ("kill", "pause", "resume", "leave", "add")
        try:
            return str(getattr(self, f"_{found[0]}")(rest))
        except Refused as error:
            raise Mistyped(str(error)) from None

    def _kill(self, rest: list[str]) -> str:
        return self._each(rest, self._testnet.kill)

    def _pause(self, rest: list[str]) -> str:
        return self._each(rest, self._testnet.pause)

    def _resume(self, rest: list[str]) -> str:
        return self._each(rest, self._testnet.resume)

    def _leave(self, rest: list[str]) -> str:
        return self._each(rest, self._testnet.let_leave)

    def _add(self, rest: list[str]) -> str:
        count = self._number(rest or ["1"], "how many to add", ADDED_AT_ONCE_MAX)
        return "; ".join(self._testnet.add_one() for _ in range(count))

    def _load(self, rest: list[str]) -> str:
        per_second = self._number(
            [rest[0].removesuffix("/s")] if len(rest) == 1 else rest, "how many a second", LOAD_MAX
        )
        self._under_load.set(per_second)
        return (
            f"{per_second} puts and gets a second from now on, at nodes by chance" if per_second else "no load any more"
        )

    def _help(self, rest: list[str]) -> str:
        return HELP

    def _quit(self, rest: list[str]) -> str:
        self.is_over = True
        return "all of them leave"

    def _each(self, rest: list[str], act: Callable[[str], str]) -> str:
        return "; ".join(act(self._testnet.address_of(number)) for number in _numbers(rest))

    @staticmethod
    def _number(rest: list[str], what: str, most: int) -> int:
        if len(rest) != 1 or not rest[0].isdecimal() or not int(rest[0]) <= most:
            raise Mistyped(f"say {what}: a number up to {most}")
        return int(rest[0])


def _numbers(words: list[str]) -> list[int]:
    numbers: list[int] = []
    for word in words:
        first, dash, last = word.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(word) > 12:
            raise Mistyped(f"{word!r} is no number of a node, such as 3 or 3-5")
        numbers += range(int(first), int(last or first) + 1)[: NUMBERS_MAX + 1]
    if not numbers or len(numbers) > NUMBERS_MAX:
        raise Mistyped(f"say which: the numbers of 1 to {NUMBERS_MAX} nodes, such as 3 or 3-5")
    return list(dict.fromkeys(numbers))
