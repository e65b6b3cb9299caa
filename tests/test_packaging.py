"""What is installed: the plugin where twistd finds it, and the wheel with all that belongs in it and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import chordtwist

CHECKOUT = Path(chordtwist.__file__).parent.parent


class PluginTests(SynchronousTestCase):
    """The `chord` command of twistd."""

    def test_twistd_finds_it(self) -> None:
        """Twisted's plugin system knows one `chord`, which leads to our module."""
        found = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == "chord"]
        self.assertEqual(["chordtwist.app.plugin"], [getattr(maker, "module", None) for maker in found])

    def test_declares_only(self) -> None:
        """Loading the plugin file loads nothing of ours: a broken node must not break ``twistd --help`` for others."""
        program = (
            "import sys, twisted.plugins, twisted.plugins.chordtwist_plugin;"
            "print([name for name in sys.modules if name.split('.')[0] == 'chordtwist'])"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, check=False)
        self.assertEqual(("[]\n", 0), (ran.stdout, ran.returncode), ran.stderr)


class CheckoutTests(SynchronousTestCase):
    """The source tree."""

    def setUp(self) -> None:
        """Only a checkout has it."""
        if not (CHECKOUT / "pyproject.toml").exists():
            raise SkipTest("the installed wheel is under test")

    def test_twisted_stays_a_namespace(self) -> None:
        """No __init__.py in our `twisted`: it would hide the real Twisted, or our plugin."""
        self.assertEqual([], list((CHECKOUT / "twisted").rglob("__init__.py")))

    def test_tools(self) -> None:
        """Every tool says in one line what it is for, as ``python -m tools`` shows it."""
        from tools.__main__ import purposes

        shown = purposes()
        self.assertIn("acceptance", shown)
        self.assertEqual([], [name for name, purpose in shown.items() if not purpose.endswith(".")])

    def test_wheel(self) -> None:
        """The wheel holds every module of ours, the plugin file, the mark of types, and nothing else."""
        if find_spec("hatchling") is None:
            raise SkipTest("hatchling is not installed")
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(0, ran.returncode, ran.stderr)
            (wheel,) = Path(folder).glob("*.whl")
            held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
        ours = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "chordtwist").rglob("*.py")}
        self.assertEqual(ours | {"chordtwist/py.typed", "twisted/plugins/chordtwist_plugin.py"}, held)


class CommandTests(SynchronousTestCase):
    """The console script."""

    def test_points_to_the_command(self) -> None:
        """``chordtwist`` on the command line is the click group."""
        from chordtwist.app.cli import main

        (script,) = entry_points(group="console_scripts", name="chordtwist")
        self.assertIs(main, script.load())
