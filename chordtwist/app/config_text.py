"""A configuration as text: each option's value as a file would say it, never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from chordtwist.app.config import SECTIONS, NodeConfig, options

HIDDEN = "(not shown)"
SECRETS = {("tls", "secret")}
"""Section and key of what is shown to nobody."""

OCTAL = {("dht", "api_socket_mode")}
"""Section and key of what is written in octal digits."""


def written(section: str, key: str, value: object) -> str:
    """Write the value of an option as its file would."""
    if (section, key) in SECRETS:
        return HIDDEN if value else ""
    if (section, key) in OCTAL:
        return f"{value:o}"
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def in_force(config: NodeConfig) -> Mapping[str, Mapping[str, str]]:
    """Write every option that is in force, by section; `hostkey` stands in the section without a name."""
    shown = {
        section: {key: written(section, key, getattr(getattr(config, section), key)) for key in options(section)}
        for section in SECTIONS
    }
    return {"": {"hostkey": written("", "hostkey", config.hostkey)}, **shown}
