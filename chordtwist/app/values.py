"""How the values of options are written: each function takes the text and the folder where relative paths start.

All raise ValueError in words that say what would be right.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import TypeVar

from chordtwist.core.address import Address, ApiAddress, UnixAddress
from chordtwist.core.durations import duration_s
from chordtwist.core.peer import canonical_ip, why_no_host

E = TypeVar("E", bound=Enum)

SECRET_BYTES_MIN = 16
"""Shorter ones are found by trying."""

NUMBER_DIGITS_MAX = 20
"""No option has more."""


def text(written: str, folder: Path) -> str:
    """Read a name."""
    if not 1 <= len(written.encode()) <= 255:
        raise ValueError("from 1 to 255 bytes of text")
    return written


def secret(written: str, folder: Path) -> str:
    """Read what nobody guesses; or nothing."""
    if written and not SECRET_BYTES_MIN <= len(written.encode()) <= 255:
        raise ValueError(f"from {SECRET_BYTES_MIN} to 255 bytes of text, such as: openssl rand -hex 32")
    return written


def path(written: str, folder: Path) -> Path | None:
    """Read a path, `~` expanded, relative to the folder; None when empty."""
    try:
        return (folder / Path(written).expanduser()).absolute() if written else None
    except RuntimeError:
        raise ValueError(f"{written!r} starts in the home of nobody known here") from None


def address(written: str, folder: Path) -> Address:
    """host:port, of one host or, to listen on, of all of its own."""
    address = Address.parse(written)
    _check_host(address, may_be_wildcard=True)
    return address


def some_address_to_listen_on(written: str, folder: Path) -> Address | None:
    """host:port, of one host or of all of its own; None when empty."""
    return address(written, folder) if written else None


def host_names(written: str, folder: Path) -> tuple[str, ...]:
    """Several host names with commas between, without ports; empty when there is none."""
    names = tuple(part.strip() for part in written.split(",") if part.strip())
    for name in names:
        if Address.parse(f"{name}:1").is_ip:
            raise ValueError(f"{name} is an IP address; those are known without being named")
    return names


def some_address(written: str, folder: Path) -> Address | None:
    """host:port of one host; None when empty."""
    return _of_one_host(written) if written else None


def addresses(written: str, folder: Path) -> tuple[Address, ...]:
    """Several host:port with commas between; empty when there is none."""
    return tuple(_of_one_host(part.strip()) for part in written.split(",") if part.strip())


def _of_one_host(written: str) -> Address:
    address = Address.parse(written)
    _check_host(address)
    return address


def _check_host(address: Address, may_be_wildcard: bool = False) -> None:
    if address.is_ip and not (may_be_wildcard and address.is_wildcard):
        reason = why_no_host(canonical_ip(address.host))
        if reason is not None:
            raise ValueError(f"{address} cannot be dialled: {reason}")


def api_address(written: str, folder: Path) -> ApiAddress:
    """host:port, or unix: and a path."""
    if written.startswith("unix:"):
        socket = path(written.removeprefix("unix:"), folder)
        if socket is None:
            raise ValueError("unix: is followed by the path of the socket, as in unix:/run/chordtwist/api.sock")
        return UnixAddress(socket)
    if ":" not in written:
        raise ValueError(f"{written!r} is neither host:port nor unix:PATH")
    return address(written, folder)


def socket_mode(written: str, folder: Path) -> int:
    """Rights of a Unix socket, in octal digits."""
    digits = written.removeprefix("0o").removeprefix("0")
    if len(digits) != 3 or not set(digits) <= set("01234567"):
        raise ValueError(f"{written!r} is not three octal digits, such as 660 for user and group or 600 for the user")
    mode = int(digits, 8)
    if mode & stat.S_IRUSR == 0 or mode & stat.S_IWUSR == 0:
        raise ValueError(f"{written!r} locks the node's own user out; the first digit is 6 or 7")
    return mode


_YES_OR_NO = {word: True for word in ("yes", "true", "on", "1")} | {word: False for word in ("no", "false", "off", "0")}


def yes_or_no(written: str, folder: Path) -> bool:
    """Read yes or no."""
    try:
        return _YES_OR_NO[written.lower()]
    except KeyError:
        raise ValueError(f"{written!r} is neither yes nor no") from None


def seconds(least: float, most: float) -> Callable[[str, Path], float]:
    """Make what reads a duration from `least` to `most` seconds: a number of them, or with units, as 5m or 1h."""

    def read(written: str, folder: Path) -> float:
        seconds = duration_s(written)
        if not least <= seconds <= most:  # nor is NaN
            raise ValueError(f"{written} is not a number of seconds from {least:g} to {most:g}")
        return seconds

    return read


def whole_seconds(least: int, most: int) -> Callable[[str, Path], int]:
    """Make what reads a duration of whole seconds."""
    read_any = seconds(least, most)

    def read(written: str, folder: Path) -> int:
        duration = read_any(written, folder)
        if duration != int(duration):
            raise ValueError(f"{written!r} is no whole number of seconds")
        return int(duration)

    return read


def number(least: int, most: int) -> Callable[[str, Path], int]:
    """Make what reads a whole number from `least` to `most`."""

    def read(written: str, folder: Path) -> int:
        # Python itself refuses to read very many digits, in words of its own.
        is_whole = written.isascii() and written.isdigit() and len(written) <= NUMBER_DIGITS_MAX
        if not is_whole or not least <= int(written) <= most:
            raise ValueError(f"{written!r} is not a whole number from {least} to {most}")
        return int(written)

    return read


def one_of(words: dict[str, E]) -> Callable[[str, Path], E]:
    """One of `words`, to what it stands for."""

    def read(written: str, folder: Path) -> E:
        try:
            return words[written.lower()]
        except KeyError:
            near = get_close_matches(written.lower(), words, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"{written!r} is none of {', '.join(words)}{hint}") from None

    return read


def one_of_or_none(words: dict[str, E]) -> Callable[[str, Path], E | None]:
    """One of `words`, to what it stands for; None when empty."""
    read = one_of(words)
    return lambda written, folder: read(written, folder) if written else None


def word(choices: type[E]) -> Callable[[str, Path], E]:
    """One of `choices`, by its value."""
    return one_of({choice.value: choice for choice in choices})
