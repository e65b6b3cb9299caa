"""The list of commands: each lives in a module of this folder, loaded when it is asked for."""

from __future__ import annotations

from errno import EPIPE
from importlib import import_module
from importlib.util import find_spec

import click

from chordtwist import __version__
from chordtwist.app.config_file import ConfigurationError
from chordtwist.core.printable import printable

PACKAGE = "chordtwist.app.cli"

COMMANDS = (
    "run",
    "put",
    "get",
    "delete",
    "shutdown",
    "status",
    "inspect",
    "ring",
    "testnet",
    "simulate",
    "certify",
)
"""In the order of ``chordtwist --help``: a node's life first. Those without a module are not there yet."""


class BadConfiguration(click.ClickException):
    """A configuration file that cannot be used, in one line."""

    exit_code = 2


class Commands(click.Group):
    """The commands, each the click command named `command` of the module of its name.

    Nothing of a command is imported before it is asked for: ``chordtwist get`` answers without loading a node.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands whose module exists."""
        return [name for name in COMMANDS if find_spec(f"{PACKAGE}.{name}") is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of that name; None when there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = import_module(f"{PACKAGE}.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"{PACKAGE}.{cmd_name}.command is no click command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for; a bad configuration ends it with one line, and so does a full disk behind
        standard output.
        """
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise BadConfiguration(printable(str(error))) from None
        except OSError as error:
            if error.errno == EPIPE:
                raise  # whoever reads has enough: no reason for a word
            place = printable(str(error.filename or "standard output"))
            raise click.ClickException(f"{place}: {error.strerror}") from None


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""A Chord distributed hash table: run a node, and talk to one.

    \b
    Start a node with a configuration file, then store and read through its API:
        chordtwist run -c etc/node.ini
        chordtwist put greeting "good morning"
        chordtwist get greeting

    Exit status: 0 done, 1 not found or refused, 2 bad usage, 3 node not reachable, 130 ended by Ctrl-C.
    """,
)
@click.version_option(__version__)
def main() -> None:
    """Do nothing: the work is in the commands."""
