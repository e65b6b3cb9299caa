"""The frame of the `chordtwist` command."""

from __future__ import annotations

import os
import tempfile
from errno import ENOSPC, EPIPE
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from chordtwist import __version__
from chordtwist.app.cli import commands as cli


class CommandsTests(SynchronousTestCase):
    """The list of commands."""

    def test_every_listed_command_is_there(self) -> None:
        """Each command that the help lists can be asked for its own help, which explains itself."""
        context = click.Context(cli.main)
        names = cli.main.list_commands(context)
        self.assertIn("run", names)
        for name in names:
            shown = CliRunner().invoke(cli.main, [name, "--help"])
            self.assertEqual(0, shown.exit_code, shown.output)
            self.assertIn("Usage: main " + name, shown.output)

    def test_no_module_is_left_out(self) -> None:
        """Every module of the folder that has a command is in the list."""
        folder = Path(cli.__file__).parent
        having = {path.stem.rstrip("_") for path in folder.glob("[!_]*.py") if "\n@click.command" in path.read_text()}
        self.assertEqual(set(), having - set(cli.COMMANDS))

    def test_unknown_command(self) -> None:
        """A command that is not there is bad usage; the nearest one is named, where one is near."""
        for typed, hint in ("statu", "did you mean status?"), ("gte", "did you mean get?"), ("xyz\x1b", "--help lists"):
            shown = CliRunner().invoke(cli.main, [typed])
            self.assertEqual(2, shown.exit_code)
            self.assertIn("there is no command", shown.output)
            self.assertIn(hint, shown.output)
            self.assertTrue(shown.output.replace("\n", "").isprintable())

    def test_list(self) -> None:
        """Each command is listed with a line that is whole, also on a terminal of 60 columns."""
        shown = CliRunner().invoke(cli.main, ["--help"], terminal_width=60).output
        for name, line in cli.COMMANDS.items():
            self.assertRegex(shown, rf"\n  {name} +{line}\n")

    def test_version(self) -> None:
        """The version can be asked for, and is the package's."""
        self.assertIn(f"version {__version__}\n", CliRunner().invoke(cli.main, ["--version"]).output)

    def test_full_disk_behind_the_output(self) -> None:
        """What cannot be written ends a command with status 1 and one line; whoever has read enough is told nothing."""

        def failing(number: int) -> click.Command:
            def command() -> None:
                raise OSError(number, os.strerror(number))

            return click.Command("status", callback=command)

        for number, said in (ENOSPC, "Error: standard output: No space left on device\n"), (EPIPE, ""):
            failed = failing(number)
            self.patch(cli.main, "get_command", lambda ctx, name, failed=failed: failed)
            shown = CliRunner().invoke(cli.main, ["status"])
            self.assertEqual((1, said), (shown.exit_code, shown.output))


class RunTests(SynchronousTestCase):
    """``chordtwist run``, as far as it goes without a reactor."""

    def test_bad_configuration(self) -> None:
        """A bad file ends it with status 2 and one line that names file, line and key."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "node.ini"
            path.write_text("[dht]\nreplicaton = 3\n")
            shown = CliRunner().invoke(cli.main, ["run", "-c", str(path)])
        expected = f"Error: {path}, line 2: replicaton: is no key of [dht]; did you mean replication?\n"
        self.assertEqual((2, expected), (shown.exit_code, shown.output))
