"""docs/glossary.rst defines words that the code uses, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import chordtwist
from tests import CHECKOUT

PAGE = CHECKOUT / "docs" / "glossary.rst"


class GlossaryTests(SynchronousTestCase):
    """The page and the code."""

    def test_words_are_used(self) -> None:
        """Each word stands in the code as the glossary writes it, once in the glossary."""
        words = re.findall(r"^   (\w+)$", PAGE.read_text(), re.M)
        self.assertGreater(len(words), 40)
        self.assertEqual(len(words), len(set(words)))
        code = "\n".join(path.read_text() for path in Path(chordtwist.__file__).parent.rglob("*.py"))
        used = set(re.findall(r"\w+", code))
        self.assertEqual([], [word for word in words if word not in used])
