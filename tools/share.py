"""Writes share: manual pages and completions for shells, made of the commands themselves; the wheel holds them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
from click.testing import CliRunner

from chordtwist import __version__
from chordtwist.app.cli.commands import main

FOLDER = Path(__file__).parents[1] / "share"
COMPLETIONS = {
    "bash": "bash-completion/completions/chordtwist",
    "zsh": "zsh/site-functions/_chordtwist",
    "fish": "fish/vendor_completions.d/chordtwist.fish",
}
STATUS = (
    ("0", "done"),
    ("1", "not found, or refused"),
    ("2", "bad usage"),
    ("3", "node not reachable"),
    ("4", "too few copies"),
    ("130", "ended by Ctrl-C"),
)


def files() -> dict[str, str]:
    """Every file, by its place in share."""
    made = {place: CliRunner().invoke(main, ["completion", shell]).stdout for shell, place in COMPLETIONS.items()}
    for name, command, context in _commands(main, click.Context(main, info_name="chordtwist")):
        made[f"man/man1/{name}.1"] = page(name, command, context)
    return made


def _commands(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """All commands, groups before what is in them, each by the name of its page."""
    yield context.command_path.replace(" ", "-"), command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _commands(inner, click.Context(inner, info_name=name, parent=context))


def page(name: str, command: click.Command, context: click.Context) -> str:
    """The manual page of one command, in the macros of man(7)."""
    lines = [f'.TH "{name.upper()}" "1" "" "chordtwist {__version__}" "chordtwist"', ".SH NAME"]
    lines.append(f"{name} \\- {_escaped(command.get_short_help_str(200).rstrip('.'))}")
    pieces = " ".join(command.collect_usage_pieces(context))
    lines += [".SH SYNOPSIS", f".B {context.command_path}", _escaped(pieces), ".SH DESCRIPTION"]
    lines += _description(cleandoc(command.help or ""))
    options = [option.get_help_record(context) for option in command.get_params(context)]
    shown = [record for record in options if record is not None]
    if shown:
        lines.append(".SH OPTIONS")
    for spelling, meaning in shown:
        lines += [".TP", f".B {_escaped(spelling)}", _escaped(meaning)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            lines += [".TP", f".B {inner}", _escaped(found.get_short_help_str(200))]
    lines.append(".SH EXIT STATUS")
    for status, meaning in STATUS:
        lines += [".TP", f".B {status}", meaning]
    if name != "chordtwist":
        lines += [".SH SEE ALSO", ".BR chordtwist (1)"]
    return "\n".join(lines) + "\n"


def _description(help_: str) -> Iterator[str]:
    """Paragraphs as they are; behind a mark of click, lines as they are."""
    for paragraph in re.split(r"\n\s*\n", help_.strip()):
        if paragraph.lstrip().startswith("\b"):
            yield from (".PP", ".nf", *map(_escaped, paragraph.replace("\b\n", "", 1).splitlines()), ".fi")
        else:
            yield from (".PP", *map(_escaped, paragraph.splitlines()))


def _escaped(words: str) -> str:
    """Words that troff takes as they are."""
    line = " ".join(words.split("\n")).replace("\\", "\\e").replace("-", "\\-").replace("``", '"')
    return f"\\&{line}" if line[:1] in (".", "'") else line


def write(folder: Path) -> None:
    """Write all of them into a folder."""
    for place, text in files().items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    write(FOLDER)
