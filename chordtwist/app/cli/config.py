"""``chordtwist config``: what a configuration file says, and what one could say."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any

import click

from chordtwist.app.cli import talking
from chordtwist.core.errors import ConfigurationError

if TYPE_CHECKING:
    from chordtwist.app.config_file import Checked


@click.group(
    help="""Check, show and explain configuration files; no node has to run.

    \b
    Examples:
        chordtwist config init > node.ini
        chordtwist config check node.ini
        chordtwist config explain dht.replication
    """
)
def command() -> None:
    """Do nothing: the work is in the commands."""


@command.command(
    help="""Look FILE through, and say everything that is wrong with it, line by line.

    Status 0 when nothing is, 2 when something is. What the file names besides (certificates, names, ports) is looked
    at by chordtwist doctor.
    """
)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False))
@talking.json_option
def check(file: str, as_json: bool) -> None:
    """Run ``chordtwist config check``."""
    from chordtwist.app.config_file import check_file

    try:
        mistakes = check_file(file).mistakes
    except ConfigurationError as error:
        mistakes = [error]
    if as_json:
        talking.show_json(
            {
                "file": file,
                "right": not mistakes,
                "mistakes": [
                    {"line": mistake.line, "key": mistake.key, "reason": mistake.reason} for mistake in mistakes
                ],
            }
        )
    else:
        for mistake in mistakes:
            talking.show(str(mistake))
        if not mistakes:
            talking.show(f"{file}: nothing is wrong with it")
    if mistakes:
        if not as_json and len(mistakes) > 1:
            talking.show(f"{len(mistakes)} mistakes", err=True)
        raise SystemExit(2)


@command.command(
    help="""Explain OPTION, as SECTION.KEY or KEY, or all of a SECTION; without a word all options there are.

    \b
    Examples:
        chordtwist config explain dht.replication
        chordtwist config explain limits
    """
)
@click.argument("option", metavar="[OPTION]", required=False)
@talking.json_option
def explain(option: str | None, as_json: bool) -> None:
    """Run ``chordtwist config explain``."""
    chosen = list(_chosen(option))
    if as_json:
        talking.show_json({"options": chosen})
        return
    for number, one in enumerate(chosen):
        if number:
            talking.show("")
        default = f"   default: {one['default'] or 'empty'}" if one["section"] else ""
        talking.show(f"[{one['section']}] {one['key']}{default}")
        for line in textwrap.wrap(one["sentence"], min(78, get_terminal_size().columns) - 4):
            talking.show(f"    {line}")


def _chosen(option: str | None) -> Iterator[dict[str, Any]]:
    from difflib import get_close_matches

    from chordtwist.app.config_text import explained

    every = explained()
    if option is None:
        yield from every
        return
    words = option.strip().lower().strip("[]").replace("] ", ".")
    names = {f"{one['section']}.{one['key']}": one for one in every}
    found = [one for name, one in names.items() if words in (name, one["key"], one["section"], *one["aliases"])]
    if not found:
        known = [*names, *{one["key"] for one in every}, *{one["section"] for one in every}]
        near = get_close_matches(words, known, 1)
        hint = f"; did you mean {near[0]}?" if near else "; chordtwist config explain lists them all"
        raise click.BadParameter(f"there is no option {option!r}{hint}", param_hint="'OPTION'")
    yield from found


@command.command(
    help="""Show every option with its value, and where that comes from: a line of FILE, the default, another option.

    What stands over the file when a node runs, variables of the environment and --set, is left out. Secrets are not
    shown.
    """
)
@click.option("-c", "--config", "path", metavar="FILE", type=click.Path(dir_okay=False), help="Without it: defaults.")
@click.option("--changed", is_flag=True, help="Only what FILE says.")
@talking.json_option
def show(path: str | None, changed: bool, as_json: bool) -> None:
    """Run ``chordtwist config show``."""
    shown = list(_in_force(path))
    if changed:
        shown = [one for one in shown if one["from"].startswith("line")]
    if as_json:
        talking.show_json({"file": path, "options": shown})
        return
    width = max((len(one["key"]) for one in shown), default=0)
    section = None
    for one in shown:
        if one["section"] != section:
            section = one["section"]
            talking.show(f"[{section}]" if section else "before any section")
        value = f"{one['key']:<{width}} = {one['value']}"
        talking.show(f"{value:<60} ; {one['from']}")


def _in_force(path: str | None) -> Iterator[dict[str, Any]]:
    from chordtwist.app.config_file import check_file, check_text
    from chordtwist.app.config_text import derived, in_force

    checked: Checked = check_text("[dht]", "the defaults", Path.cwd()) if path is None else check_file(path)
    for mistake in checked.mistakes:
        raise mistake
    follows = derived(checked.config)
    for section, values in in_force(checked.config).items():
        for key, value in values.items():
            given = checked.given.get((section, key))
            where = "default" if given is None else f"line {given.line}"
            if not value and (section, key) in follows:
                value, source = follows[section, key]
                where = source if given is None else f"{where}: {source}"
            if given is not None and given.key != key:
                where += f", as {given.key}"
            yield {"section": section, "key": key, "value": value, "from": where}


@command.command(
    help="""Write a configuration file to standard output: every option there is, explained, at its default.

    \b
    Example:
        chordtwist config init > node.ini
    """
)
def init() -> None:
    """Run ``chordtwist config init``."""
    from chordtwist.app.config_text import template

    for line in template().splitlines():
        talking.show(line)
