"""What is installed: the plugin where twistd finds it, and the wheel with all that belongs in it and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from tests import CHECKOUT


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

    def test_twisted_stays_a_namespace(self) -> None:
        """No __init__.py in our `twisted`: it would hide the real Twisted, or our plugin."""
        self.assertEqual([], list((CHECKOUT / "twisted").rglob("__init__.py")))

    def test_documents_are_found(self) -> None:
        """No test looks for documents or tools beside the package, which is elsewhere while a wheel is tried."""
        beside = re.compile(r"chordtwist\.__file__\)\.(parent\.parent|parents)")
        found = [path.name for path in (CHECKOUT / "tests").rglob("*.py") if beside.search(path.read_text())]
        self.assertEqual([], found)

    def test_version(self) -> None:
        """The version is one of those that CONTRIBUTING.rst describes."""
        self.assertRegex(chordtwist.__version__, r"^\d+\.\d+\.\d+(\.dev0)?$")

    def test_fragments(self) -> None:
        """Each news fragment is named ``+WORDS.KIND.rst``; without the plus towncrier takes the words for an issue."""
        kinds = "feature|bugfix|doc|removal|misc"
        fragments = {path.name for path in (CHECKOUT / "newsfragments").iterdir()} - {".gitignore"}
        self.assertEqual([], [name for name in fragments if not re.fullmatch(rf"\+[\w-]+\.({kinds})\.rst", name)])

    def test_pins(self) -> None:
        """constraints.txt, which ``make`` installs by, names everything that pyproject.toml asks for, once."""
        pinned = re.findall(r"^([\w.-]+)==", (CHECKOUT / "constraints.txt").read_text(), re.M)
        self.assertEqual(len(pinned), len(set(pinned)))
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
        asked = [
            *project["dependencies"],
            *(name for extra in project["optional-dependencies"].values() for name in extra),
        ]
        names = {re.split(r"[\[>=<~ ]", name)[0].lower() for name in asked}
        names -= {"atheris", "kademlia", "opendht"}
        self.assertEqual(set(), names - {name.lower() for name in pinned})

    def test_tools(self) -> None:
        """Every tool and benchmark says in one line what it is for, as ``python -m tools`` shows it; tools stand in
        CONTRIBUTING.rst as well.
        """
        import benchmarks
        import tools

        guide = (CHECKOUT / "CONTRIBUTING.rst").read_text()
        shown = tools.purposes(tools)
        self.assertEqual([], [name for name in shown if f"``{name}``" not in guide])
        for name, purpose in (shown | tools.purposes(benchmarks)).items():
            self.assertRegex(purpose, r"^[A-Z].*\.$", name)

    def test_names(self) -> None:
        """Every name that programs lean on is on docs/api.rst."""
        page = (CHECKOUT / "docs" / "api.rst").read_text()
        self.assertEqual([], [name for name in chordtwist.__all__ if f":: chordtwist.{name}" not in page])

    def test_manual(self) -> None:
        """Every command has a page with all of its options; what troff reads as an order is nobody's words."""
        from tools.share import files

        made = files()
        page = made["man/man1/chordtwist-config-show.1"]
        for word in ("chordtwist\\-config", "\\-\\-changed", ".SH EXIT STATUS"):
            self.assertIn(word.replace("chordtwist\\-config", "chordtwist config"), page)
        orders = {".TH", ".SH", ".B", ".BR", ".TP", ".PP", ".nf", ".fi"}
        found = {line.split()[0] for page in made.values() for line in page.splitlines() if line.startswith((".", "'"))}
        self.assertLessEqual(found, orders)

    def test_wheel(self) -> None:
        """The wheel has the version that the package says, and holds every module of ours, the plugin file, the mark of
        types, the page, and nothing else.
        """
        if find_spec("hatchling") is None:
            raise SkipTest("hatchling is not installed")
        if not (CHECKOUT / "chordtwist").exists():
            raise SkipTest("the installed wheel is under test")
        from tools.share import write

        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as copy:
            for name in "chordtwist", "twisted", "etc":
                shutil.copytree(
                    CHECKOUT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__", "*.cache")
                )
            for name in "pyproject.toml", "hatch_build.py", "README.rst", "LICENSE", ".gitignore":
                shutil.copy(CHECKOUT / name, copy)
            write(Path(copy) / "share")
            ran = subprocess.run(
                [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
                cwd=copy,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(0, ran.returncode, ran.stderr)
            (wheel,) = Path(folder).glob("*.whl")
            self.assertEqual(chordtwist.__version__, wheel.name.split("-")[1])
            names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
        held = {name for name in names if ".data/" not in name}
        shared = {name.partition(".data/data/share/")[2] for name in names if ".data/" in name}
        ours = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "chordtwist").rglob("*.py")}
        self.assertLessEqual(
            {
                "man/man1/chordtwist.1",
                "man/man1/chordtwist-config-check.1",
                "bash-completion/completions/chordtwist",
                "doc/chordtwist/etc/node.ini",
                "doc/chordtwist/etc/systemd/chordtwist.service",
            },
            shared,
        )
        self.assertEqual(
            ours
            | {
                "chordtwist/py.typed",
                "chordtwist/net/web/page.html",
                "chordtwist/net/web/openapi.json",
                "twisted/plugins/chordtwist_plugin.py",
            },
            held,
        )


class CommandTests(SynchronousTestCase):
    """The console script."""

    def test_points_to_the_command(self) -> None:
        """``chordtwist`` on the command line is the click group."""
        from chordtwist.app.cli import main

        (script,) = entry_points(group="console_scripts", name="chordtwist")
        self.assertIs(main, script.load())
