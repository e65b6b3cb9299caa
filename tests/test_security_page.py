"""docs/security.rst names, for each attack, the test that shows what the node does: they have to exist."""

from __future__ import annotations

import re
from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase, TestCase

from chordtwist.wire.peer_messages import MESSAGES, Question
from tests import CHECKOUT

PAGE = CHECKOUT / "docs" / "security.rst"


class NamedTests(SynchronousTestCase):
    """The page and the tests."""

    def test_every_named_test_exists(self) -> None:
        """Each name is that of a test method, in a class of tests, in a module."""
        names = re.findall(
            r"``(tests\.[\w.]+\.test_\w+\.\w+\.test_\w+|tests\.test_\w+\.\w+\.test_\w+)``", PAGE.read_text()
        )
        self.assertGreater(len(names), 40)
        missing = []
        for name in names:
            module, case, method = name.rsplit(".", 2)
            found = getattr(import_module(module), case, None)
            if not (
                isinstance(found, type) and issubclass(found, SynchronousTestCase | TestCase) and hasattr(found, method)
            ):
                missing.append(name)
        self.assertEqual([], missing)

    def test_every_attack_names_a_test(self) -> None:
        """No row of the table of attacks is without one."""
        table = PAGE.read_text().split("\nAttacks\n")[1].split("\nWhat is not defended\n")[0]
        rows = table.split("   * - ")[2:]
        self.assertGreater(len(rows), 20)
        self.assertEqual([], [row for row in rows if "``tests." not in row])

    def test_every_question_has_a_price(self) -> None:
        """The table of prices names every question there is, with the account that a peer pays from."""
        table = PAGE.read_text().split("\nWhat a question costs, and who pays\n")[1].split("\nWhat is not charged")[0]
        told = dict(re.findall(r"   \* - ``(\w+)``\n     - .+\n     - .+\n     - (work|upkeep)\n", table))
        meant = {
            message.__name__: "upkeep" if message.is_upkeep else "work"
            for message in MESSAGES
            if issubclass(message, Question)
        }
        self.assertEqual(meant, told)
