"""What a Python loads and shows that has loaded nothing yet: each of these starts one."""

from __future__ import annotations

import json
import subprocess
import sys

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.cli import commands as cli
from chordtwist.app.cli.certify import command as certify_commands
from tests import CHECKOUT


def helps() -> dict[str, str]:
    """What every command shows as its help, and the list of scenarios."""
    names = [[name] for name in cli.main.list_commands(click.Context(cli.main))]
    certify = [["certify", name] for name in certify_commands.commands]
    asked = [[*words, "--help"] for words in ([], *names, *certify)] + [["simulate", "--scenarios"]]
    return {" ".join(words): CliRunner().invoke(cli.main, words).output for words in asked}


def shown_by(program: str, *flags: str) -> str:
    """What a program prints in a Python of its own."""
    ran = subprocess.run([sys.executable, *flags, "-c", program], capture_output=True, text=True, cwd=CHECKOUT)
    if ran.returncode:
        raise AssertionError(ran.stderr)
    return ran.stdout


class FreshPythonTests(SynchronousTestCase):
    """Programs of one line."""

    def test_help_loads_no_reactor(self) -> None:
        """Importing every command does not choose the reactor of the process."""
        program = (
            "import sys; from chordtwist.app.cli.commands import COMMANDS, main;"
            "[main.get_command(None, name) for name in COMMANDS]; print('twisted.internet.reactor' in sys.modules)"
        )
        self.assertEqual("False\n", shown_by(program))

    def test_configuration_loads_no_twisted(self) -> None:
        """To read a configuration takes nothing of Twisted, which takes most of a short command's time."""
        program = "import sys, chordtwist.app.config_file; print('twisted' in sys.modules)"
        self.assertEqual("False\n", shown_by(program))

    def test_garbage_is_collected(self) -> None:
        """While what a command needs is imported nothing is collected; from then on it is, as a node needs it."""
        program = (
            "import atexit, gc, sys; from chordtwist.app.cli import main; sys.argv = ['chordtwist', 'get', '--help']\n"
            "atexit.register(lambda: print(gc.isenabled()))\nmain()"
        )
        shown = shown_by(program)
        self.assertTrue(shown.endswith("True\n"), shown)

    def test_without_docstrings(self) -> None:
        """Under python -OO, which throws docstrings away, every help says what it says otherwise."""
        program = "import json; from tests.live.test_fresh_python import helps; print(json.dumps(helps()))"
        expected, shown = json.loads(shown_by(program)), json.loads(shown_by(program, "-OO"))
        self.assertEqual(expected, shown)
        scenarios = expected.pop("simulate --scenarios").splitlines()
        self.assertEqual([], [words for words, shown in expected.items() if "\n\n  " not in shown])
        self.assertEqual([], [line for line in scenarios if len(line.split()) < 4])

    def test_lazy(self) -> None:
        """A program of asyncio loads no Twisted, and one that talks to a node no node."""
        for program, expected in (
            ("chordtwist.aio.connect", ()),
            ("chordtwist.connect", ("twisted",)),
            ("chordtwist.key_of", ()),
            ("chordtwist.Node", ("twisted", "chordtwist.node.node")),
        ):
            heavy = "{'twisted', 'chordtwist.node.node'}"
            text = f"import sys, chordtwist; {program}; print(*({heavy} & set(sys.modules)))"
            self.assertEqual(set(expected), set(shown_by(text).split()), program)
