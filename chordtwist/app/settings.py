"""What stands over the configuration file: ``--set section.key=value``, and variables of the environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from chordtwist.app.config import SECTIONS, options
from chordtwist.core.errors import ConfigurationError

PREFIX = "CHORDTWIST_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and the words for where it was given: errors say those."""

    section: str
    key: str
    text: str
    origin: str


def from_options(written: Iterable[str]) -> list[Setting]:
    """Read what stands behind each ``--set``.

    @raise ConfigurationError: it is not section.key=value, or no option of that name exists.
    """
    settings = []
    for one in written:
        name, equals, text = one.partition("=")
        section, dot, key = name.strip().partition(".")
        if not equals or not dot:
            raise ConfigurationError("--set", None, None, f"{name!r} is not section.key=value, as dht.replication=3")
        settings.append(_setting(section.lower(), key.lower(), text.strip(), "--set"))
    return settings


def from_environment(environment: Mapping[str, str]) -> list[Setting]:
    """Take the variables that are named after options: CHORDTWIST_DHT_REPLICATION.

    @raise ConfigurationError: one is named after a section of ours and no option in it.
    """
    settings = []
    for variable, text in sorted(environment.items()):
        section, _, key = variable.removeprefix(PREFIX).lower().partition("_")
        if variable.startswith(PREFIX) and section in SECTIONS and key:
            settings.append(_setting(section, key, text.strip(), f"{variable} of the environment"))
    return settings


def from_mapping(values: Mapping[str, object]) -> list[Setting]:
    """Take what a program gives by name: ``{"dht.replication": "3"}``.

    @raise ConfigurationError: no option of that name exists, or the value is no text.
    """
    settings = []
    for name, text in values.items():
        if not isinstance(text, str):
            kind = type(text).__name__  # not the value, which may be a secret
            raise ConfigurationError("settings", None, name, f"is no text but of type {kind}; write it as in a file")
        settings.append(_setting(*name.partition(".")[::2], text, "settings"))
    return settings


def _setting(section: str, key: str, text: str, origin: str) -> Setting:
    if section not in SECTIONS:
        raise ConfigurationError(origin, None, f"{section}.{key}", f"no such section; they are {', '.join(SECTIONS)}")
    if key not in options(section):
        near = get_close_matches(key, options(section), n=1)
        hint = f"did you mean {section}.{near[0]}?" if near else f"they are {', '.join(options(section))}"
        raise ConfigurationError(origin, None, f"{section}.{key}", f"no such option; {hint}")
    return Setting(section, key, text, origin)
