"""The configuration file: INI text to a `NodeConfig`, or an error that names file, line, key and what would be right.

Reading touches the one file and nothing else: names are resolved, and other paths opened, when the node starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from chordtwist.app import values
from chordtwist.app.config import (
    SECTIONS,
    DhtSection,
    LimitsSection,
    LogSection,
    NodeConfig,
    TlsSection,
    contradictions,
    options,
)
from chordtwist.core.errors import ChordtwistError

T = TypeVar("T")


class ConfigurationError(ChordtwistError):
    """A configuration cannot be used: names the file, the line, the key, and what would be right."""

    def __init__(self, source: str, line: int | None, key: str | None, reason: str) -> None:
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {reason}" if key is None else f"{place}: {key}: {reason}")
        self.source = source
        self.line = line
        self.key = key
        self.reason = reason


def read_file(path: str | Path) -> NodeConfig:
    """Read a configuration from its file.

    @raise ConfigurationError: it cannot be read, or not be used.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(str(path), None, None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(str(path), line, None, "is no UTF-8 text") from None
    return read_text(text, str(path), Path(path).absolute().parent)


def read_text(text: str, source: str, folder: Path) -> NodeConfig:
    """Read a configuration from its text; `source` names it in errors, relative paths start at `folder`.

    @raise ConfigurationError: it cannot be used.
    """
    return _Reader(source, folder).read(text)


@dataclass(frozen=True, slots=True)
class _Given:
    # A value as it stands in the file.
    line: int
    key: str
    text: str


class _Reader:
    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._given: dict[tuple[str, str], _Given] = {}

    def read(self, text: str) -> NodeConfig:
        seen = {""}
        for line, section, key, value in self._lines(text):
            seen.add(section)
            if key:
                self._take(line, section, key, value)
        if "dht" not in seen:
            raise ConfigurationError(self._source, None, None, "has no section [dht]")
        config = NodeConfig(
            dht=self._section(DhtSection, "dht"),
            tls=self._section(TlsSection, "tls"),
            limits=self._section(LimitsSection, "limits"),
            log=self._section(LogSection, "log"),
            hostkey=self._hostkey(),
        )
        for contradiction in contradictions(config):
            raise self._contradicted(*contradiction)
        return config

    def _lines(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        # Python's configparser refuses keys before the first section and takes the colon of an address for a
        # separator, so the few rules of the format are here: line, section, key and value; no key where a section
        # opens. Sections and keys are without case, as in Windows.
        section = ""
        for line, raw in enumerate(text.splitlines(), 1):
            content = _without_comment(raw)
            if content.startswith("["):
                if not content.endswith("]"):
                    raise ConfigurationError(
                        self._source, line, None, f"{content!r} opens a section without a closing ]"
                    )
                section = content[1:-1].strip().lower()
                yield line, section, "", ""
            elif content and (section in SECTIONS or not section or section == "default"):
                key, separator, value = content.partition("=")
                if not separator or not key.strip():
                    raise ConfigurationError(self._source, line, None, f"{content!r} is not of the form key = value")
                yield line, section, key.strip().lower(), value.strip()

    def _take(self, line: int, section: str, key: str, value: str) -> None:
        if key == "hostkey" and section in ("", "default", "dht"):
            place, name = "", key
        elif section in SECTIONS:
            place, name = section, self._known(line, section, key)
        elif section == "" and key in _names("dht"):
            raise ConfigurationError(self._source, line, key, "stands before any section; [dht] belongs above it")
        else:
            return  # a default, or a key before any section, that is for other modules
        earlier = self._given.get((place, name))
        if earlier is not None:
            also = "" if earlier.key == key else f", as {earlier.key}"
            raise ConfigurationError(self._source, line, key, f"is already given in line {earlier.line}{also}")
        self._given[place, name] = _Given(line, key, value)

    def _known(self, line: int, section: str, key: str) -> str:
        names = _names(section)
        if key in names:
            return names[key]
        (nearest,) = get_close_matches(key, names, n=1, cutoff=0.0)
        reason = f"is no key of [{section}]; the nearest known one is {nearest}"
        raise ConfigurationError(self._source, line, key, reason)

    def _section(self, kind: type[T], section: str) -> T:
        given = {name: self._given.get((section, name)) for name in options(section)}
        return kind(**{name: self._value(one, options(section)[name].read) for name, one in given.items() if one})

    def _hostkey(self) -> Path | None:
        given = self._given.get(("", "hostkey"))
        return None if given is None else self._value(given, values.path)

    def _value(self, given: _Given, read: Callable[[str, Path], T]) -> T:
        try:
            return read(given.text, self._folder)
        except ValueError as error:
            raise ConfigurationError(self._source, given.line, given.key, str(error)) from None

    def _contradicted(self, section: str, name: str, reason: str) -> ConfigurationError:
        given = self._given.get((section, name))
        if given is None:
            return ConfigurationError(self._source, None, f"[{section}] {name}", reason)
        return ConfigurationError(self._source, given.line, given.key, reason)


def _without_comment(line: str) -> str:
    # A comment opens the line or follows a blank, so that a path may hold either sign.
    stripped = line.strip()
    for at, sign in enumerate(stripped):
        if sign in ";#" and (at == 0 or stripped[at - 1].isspace()):
            return stripped[:at].rstrip()
    return stripped


def _names(section: str) -> dict[str, str]:
    # Every spelling of the section's keys, to its name.
    return {spelling: name for name, reading in options(section).items() for spelling in (name, *reading.aliases)}
