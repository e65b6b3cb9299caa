"""A configuration as text: each option's value as a file would say it, never a secret."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from enum import Enum
from typing import Any

from chordtwist.app.config import SECTIONS, NodeConfig, options, policy_at
from chordtwist.core.address import Address

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


def derived(config: NodeConfig) -> dict[tuple[str, str], tuple[str, str]]:
    """Write what is in force where nothing is said, by section and key, each with the option that it follows from, or
    "default".
    """
    dht, api, announced = config.dht, config.api_address, config.announced_address
    beside = "p2p_address" if isinstance(api, Address) and api.host == dht.p2p_address.host else "default"
    found = {("dht", "api_address"): (str(api), beside), ("dht", "public_address"): (str(announced), "p2p_address")}
    if announced.is_ip:
        place = "p2p_address" if dht.public_address is None else "public_address"
        found["dht", "identity"] = written("dht", "identity", policy_at(announced.host)), place
    return found


HOSTKEY_SENTENCE = (
    "The course's RSA key, PEM: serves the certificate of the node, where one is given. It stands before any section,"
    " in [DEFAULT] or in [dht]."
)
TEMPLATE_HEAD = (
    "The configuration of a chordtwist node: every option there is, with its unit, default and reason. What is"
    " commented out stands at its default. Comments open with # or ; and may follow a value. Sections of other programs"
    " are ignored."
)
LINE_COLUMNS = 118


def explained() -> list[dict[str, Any]]:
    """Explain every option: `section`, `key`, `default`, `sentence`, `aliases`; of `hostkey` the section is empty."""
    default = in_force(NodeConfig())
    hostkey = {"section": "", "key": "hostkey", "default": "", "sentence": HOSTKEY_SENTENCE, "aliases": []}
    return [
        hostkey,
        *(
            {
                "section": section,
                "key": key,
                "default": default[section][key],
                "sentence": reading.sentence,
                "aliases": list(reading.aliases),
            }
            for section in SECTIONS
            for key, reading in options(section).items()
        ),
    ]


def template() -> str:
    """Write a file with every option at its default, commented out, each below its sentence."""
    lines = [*_comment(TEMPLATE_HEAD), "#", "#     chordtwist run -c node.ini", ""]
    section = ""
    for option in explained():
        if option["section"] != section:
            section = option["section"]
            lines += [f"[{section}]"]
        lines += [*_comment(option["sentence"]), f"# {option['key']} = {option['default']}".rstrip(), ""]
    return "\n".join(lines)


def _comment(sentence: str) -> list[str]:
    wrapped = textwrap.wrap(sentence, LINE_COLUMNS - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]
