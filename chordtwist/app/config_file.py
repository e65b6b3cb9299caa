"""The configuration file: INI text to a `NodeConfig`, or an error that names file, line, key and what would be right.

Reading touches the one file and nothing else: names are resolved, and other paths opened, when the node starts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar
from unicodedata import category

from chordtwist.app import values
from chordtwist.app.config import (
    SECTIONS,
    DhtSection,
    LimitsSection,
    LogSection,
    NodeConfig,
    TlsSection,
    WatchSection,
    WebSection,
    contradictions,
    options,
)
from chordtwist.app.settings import Setting
from chordtwist.core.errors import ConfigurationError
from chordtwist.core.printable import printable

T = TypeVar("T")

DEFAULT = "default"
"""The section for all programs that read a file; of ours only `hostkey` may stand there."""

SECTION_LIKENESS, KEY_LIKENESS = 0.65, 0.8
"""From where on a name outside of ours is one of ours spelled wrong, by the ratio of difflib: two letters changed about
in three make 0.67."""

_LINE_END = re.compile(r"\r\n|\n|\r")
"""What editors count; `str.splitlines` ends a line at seven other signs as well."""

_WORD = re.compile(r"\w+")

_STEERING = ("Cc", "Zl", "Zp")
"""Unicode's categories of what steers a terminal, ends a line or, NUL, a path."""


def read_file(path: str | Path | None, settings: Sequence[Setting] = ()) -> NodeConfig:
    """Read a configuration from its file, or of None every default; `settings` stand over it.

    @raise ConfigurationError: it cannot be read, or not be used.
    """
    if path is None:
        return read_text("[dht]\n", "no file", Path.cwd(), settings)
    return read_text(text_of(path), str(path), Path(path).absolute().parent, settings)


def check_file(path: str | Path) -> Checked:
    """Read a configuration from its file, and find all of its mistakes.

    @raise ConfigurationError: it cannot be read at all.
    """
    return check_text(text_of(path), str(path), Path(path).absolute().parent)


def text_of(path: str | Path) -> str:
    """Read the text of a configuration. @raise ConfigurationError: there is none."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(str(path), None, None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(str(path), line, None, "is no UTF-8 text") from None


def read_text(text: str, source: str, folder: Path, settings: Sequence[Setting] = ()) -> NodeConfig:
    """Read a configuration from its text; `source` names it in errors, relative paths start at `folder`, those of
    `settings`, which stand over it, in the current folder.

    @raise ConfigurationError: it cannot be used: its first mistake.
    """
    checked = check_text(text, source, folder, settings)
    for mistake in checked.mistakes:
        raise mistake
    return checked.config


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it stands in the file, under one of the names of its option."""

    line: int | None
    key: str
    text: str
    origin: str = ""
    """Where it was given, if not in the file."""


COURSE_SECTIONS = ("onion", "gossip", "auth", "nse", "rps")
"""Modules of the course that share the file, however like ours their names are."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A configuration as far as it can be read, what is wrong with its file, line by line, and what that file gives."""

    config: NodeConfig
    mistakes: list[ConfigurationError]
    given: dict[tuple[str, str], Given]
    """By section and name of the option; of `hostkey` the section is empty."""


def check_text(text: str, source: str, folder: Path, settings: Sequence[Setting] = ()) -> Checked:
    """Read a configuration as `read_text` does, and find all of its mistakes."""
    return _Reader(source, folder).check(text, settings)


class _Reader:
    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._given: dict[tuple[str, str], Given] = {}
        self._mistakes: list[ConfigurationError] = []
        self._unread: set[str] = set()
        """The names of options whose values make no sense, and have their defaults."""

    def check(self, text: str, settings: Sequence[Setting]) -> Checked:
        config = self._read(text, settings)
        last = len(text)
        self._mistakes.sort(key=lambda mistake: last if mistake.line is None else mistake.line)
        return Checked(config, self._mistakes, self._given)

    def _wrong(self, line: int | None, key: str | None, reason: str, origin: str | None = None) -> None:
        self._mistakes.append(ConfigurationError(origin or self._source, line, key, reason))

    def _read(self, text: str, settings: Sequence[Setting]) -> NodeConfig:
        seen = {""}
        for line, section, key, value in self._lines(text):
            seen.add(section)
            if key:
                self._take(line, section, key, value)
        if "dht" not in seen:
            self._wrong(None, None, "has no section [dht]")
        for one in settings:
            self._given[one.section, one.key] = Given(None, f"{one.section}.{one.key}", one.text, one.origin)
        config = NodeConfig(
            dht=self._section(DhtSection, "dht"),
            tls=self._section(TlsSection, "tls"),
            limits=self._section(LimitsSection, "limits"),
            watch=self._section(WatchSection, "watch"),
            web=self._section(WebSection, "web"),
            log=self._section(LogSection, "log"),
            hostkey=self._hostkey(),
        )
        for section, name, reason in contradictions(config):
            # Where an option that makes no sense has its default, what contradicts that is not the file's mistake.
            if not self._unread & {name, *_WORD.findall(reason)}:
                self._contradicted(section, name, reason)
        return config

    def _lines(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        # Python's configparser refuses keys before the first section and takes the colon of an address for a
        # separator, so the few rules of the format are here: line, section, key and value; no key where a section
        # opens. Sections and keys are without case, as in Windows. A line that cannot be read is not quoted: a secret
        # may stand in it.
        section = ""
        for line, raw in enumerate(_LINE_END.split(text), 1):
            content = _without_comment(raw)
            if content.startswith("["):
                if not content.endswith("]"):
                    self._wrong(line, None, "opens a section without a closing ]")
                section = self._section_name(line, content.strip("[]").strip().lower())
                yield line, section, "", ""
            elif content and (section in SECTIONS or not section or section == DEFAULT):
                key, separator, value = content.partition("=")
                key = key.strip().lower()
                if not separator or not key or len(key.split()) > 1:
                    name, colon, _ = key.partition(":")
                    is_colon = colon and section in SECTIONS and name.strip() in _names(section)
                    hint = "; a colon stands for nothing between them" if is_colon else ""
                    self._wrong(line, None, f"is not of the form key = value{hint}")
                    continue
                yield line, section, key, value.strip()

    def _section_name(self, line: int, name: str) -> str:
        # A section of another program is no mistake; one of ours that is spelled wrong would leave its defaults.
        known = (*SECTIONS, DEFAULT)
        near = (
            [] if name in (*known, *COURSE_SECTIONS) else get_close_matches(name, known, n=1, cutoff=SECTION_LIKENESS)
        )
        if near:
            self._wrong(line, None, f"[{printable(name)}] is no section of this program; did you mean [{near[0]}]?")
            return near[0]
        return name

    def _take(self, line: int, section: str, key: str, value: str) -> None:
        name: str | None
        if key == "hostkey" and section in ("", DEFAULT, "dht"):
            place, name = "", key
        elif section in SECTIONS:
            place, name = section, self._known(line, section, key)
        else:
            self._check_foreign(line, section, key)
            return  # a default, or a key before any section, that is for other modules
        if name is None:
            return
        if not self._has_form(line, key, value):
            self._unread.add(name)
            return
        earlier = self._given.get((place, name))
        if earlier is not None:
            also = "" if earlier.key == key else f", as {earlier.key}"
            self._wrong(line, key, f"is already given in line {earlier.line}{also}")
            return
        self._given[place, name] = Given(line, key, value)

    def _known(self, line: int, section: str, key: str) -> str | None:
        names = _names(section)
        if key in names:
            return names[key]
        near = get_close_matches(key, (*names, *(["hostkey"] if section == "dht" else [])), n=1)
        if not near:
            # It may be no key at all but a secret that has slipped into a line of its own.
            self._wrong(line, None, f"no key of [{section}] stands here; they are {', '.join(options(section))}")
        else:
            self._wrong(line, printable(key), f"is no key of [{section}]; did you mean {near[0]}?")
        return None

    def _check_foreign(self, line: int, section: str, key: str) -> None:
        # Keys outside of our sections are other programs', unless they are ours.
        if section == "" and key in _names("dht"):
            self._wrong(line, key, "stands before any section; [dht] belongs above it")
        elif get_close_matches(key, ["hostkey"], n=1, cutoff=KEY_LIKENESS):
            self._wrong(line, printable(key), "did you mean hostkey?")

    def _has_form(self, line: int, key: str, value: str) -> bool:
        # Quotes would be part of a value; a sign that nobody sees would be so too, or would end a path.
        if value.startswith('"') or value.endswith('"') or (len(value) > 1 and value[0] == value[-1] == "'"):
            self._wrong(line, key, "stands in quotes, which would be part of it; none are needed")
            return False
        odd = next((sign for sign in value if category(sign) in _STEERING and sign != "\t"), None)
        if odd is not None:
            self._wrong(line, key, f"holds the control character U+{ord(odd):04X}")
        return odd is None

    def _section(self, kind: type[T], section: str) -> T:
        read: dict[str, object] = {}
        for name, option in options(section).items():
            self._value(section, name, option.read, read)
        return kind(**read)

    def _hostkey(self) -> Path | None:
        read: dict[str, Path | None] = {}
        self._value("", "hostkey", values.path, read)
        return read.get("hostkey")

    def _value(self, section: str, name: str, read: Callable[[str, Path], T], values: dict[str, T]) -> None:
        """Read an option into `values`, if it is given and makes sense."""
        given = self._given.get((section, name))
        if given is None:
            return
        try:
            values[name] = read(given.text, Path.cwd() if given.origin else self._folder)
        except ValueError as error:
            self._unread.add(name)
            self._wrong(given.line, given.key, str(error), given.origin)

    def _contradicted(self, section: str, name: str, reason: str) -> None:
        given = self._given.get((section, name))
        if given is None:
            self._wrong(None, f"[{section}] {name}", reason)
        else:
            self._wrong(given.line, given.key, reason, given.origin)


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
