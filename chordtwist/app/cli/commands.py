"""The list of commands: each lives in a module of this folder, loaded when it is asked for."""

from __future__ import annotations

import gc
from errno import EPIPE
from importlib import import_module
from keyword import iskeyword

import click

from chordtwist import __version__
from chordtwist.core.errors import ConfigurationError
from chordtwist.core.printable import printable

PACKAGE = "chordtwist.app.cli"

AS_JSON = "chordtwist.as_json"
"""Where a context keeps whether the outcome is wanted as JSON."""

COMMANDS = {
    "run": "Run a node in the foreground.",
    "put": "Store a value under a key.",
    "get": "Read the value under a key.",
    "delete": "Put an end to a value.",
    "status": "Show how a node is.",
    "ring": "Show all members, walked from one of them.",
    "inspect": "Show what every replica of a key keeps.",
    "trace": "Show one search, question by question.",
    "ping": "Measure the way to a node's neighbours.",
    "events": "Show what happened, and what happens.",
    "watch": "Show a value, and each change of it.",
    "top": "Show a node's numbers as they change.",
    "bench": "Measure how fast a node answers.",
    "doctor": "Look whether a node is well, and why not.",
    "export": "Write a backup of what a node keeps.",
    "import": "Bring the records of a backup back.",
    "evidence": "Show whom a node convicts; check proofs.",
    "reload": "Let a node read its configuration again.",
    "config": "Check, show and explain configurations.",
    "shutdown": "Let a node leave its ring and end.",
    "testnet": "Run a whole ring in one process.",
    "simulate": "Simulate a ring, with faults if you like.",
    "certify": "Make a network of one's own: certificates.",
    "state": "Look at what a node keeps on disk.",
    "completion": "Let a shell complete commands and options.",
}
"""In the order of ``chordtwist --help``, a node's life first, each with what it shows there: at most 46 characters, so
that a line of 60 columns holds it.
"""


class BadConfiguration(click.ClickException):
    """A configuration file that cannot be used, in one line."""

    exit_code = 2
    kind = "bad usage"


class Commands(click.Group):
    """The commands, each the click command named `command` of the module of its name.

    Nothing of a command is imported before it is asked for: ``chordtwist get`` answers without loading a node, and
    ``chordtwist --help`` lists the commands without loading one.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands by name."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of that name; None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = import_module(f"{PACKAGE}.{module}").command
        gc.enable()  # which `main` has disabled, for what is imported before a command begins
        if not isinstance(command, click.Command):
            raise TypeError(f"{PACKAGE}.{cmd_name}.command is no click command")
        command.short_help = COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their one line."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; of one that there is not, say which is nearest."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, 1)
            hint = f" did you mean {near[0]}?" if near else " chordtwist --help lists them."
            ctx.fail(printable(f"there is no command {name!r};{hint}"))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command; look whether its outcome is wanted as JSON."""
        options = args[: args.index("--")] if "--" in args else args
        ctx.meta[AS_JSON] = "--json" in options
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for. A bad configuration ends it with one line, and so does a full disk behind
        standard output; where its outcome is wanted as JSON, every error is shown as JSON besides.
        """
        try:
            return self._invoke(ctx)
        except click.ClickException as error:
            if ctx.meta[AS_JSON]:
                from chordtwist.app.cli.talking import show_json

                show_json(error_fields(error))
            raise

    def _invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise BadConfiguration(printable(str(error))) from None
        except OSError as error:
            if error.errno == EPIPE:
                raise  # whoever reads has enough: no reason for a word
            place = printable(str(error.filename or "standard output"))
            raise click.ClickException(f"{place}: {error.strerror}") from None


def error_fields(error: click.ClickException) -> dict[str, object]:
    """Show the end of a command to programs: what it shows besides, and of the error its kind and reason."""
    kind = getattr(error, "kind", "bad usage" if error.exit_code == 2 else "failed")
    return {**getattr(error, "fields", {}), "error": {"kind": kind, "reason": error.format_message()}}


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""A Chord distributed hash table: run a node, and talk to one.

    \b
    Start a node, then store and read through its API, in another terminal:
        chordtwist run
        chordtwist put greeting "good morning"
        chordtwist get greeting

    Exit status: 0 done, 1 not found or refused, 2 bad usage, 3 node not reachable, 4 too few copies, 130 ended by
    Ctrl-C.
    """,
)
@click.option("--api", metavar="HOST:PORT", help="Where the node's API is, as behind the command.")
@click.version_option(__version__)
def main(api: str | None) -> None:
    """Do nothing: the work is in the commands."""
