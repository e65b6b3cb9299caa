"""docs/pictures: what the simulator draws is what docs/learn.rst shows and says."""

from __future__ import annotations

import re
from xml.dom.minidom import parseString

from twisted.trial.unittest import SynchronousTestCase

from tests import CHECKOUT
from tools.pictures import FOLDER, pictures


class PicturesTests(SynchronousTestCase):
    def test_drawn_anew(self) -> None:
        """Each file is what the command draws: write them with python -m tools.pictures, and read the page again."""
        shown = {path.name: path.read_text() for path in FOLDER.glob("*.svg")}
        self.assertEqual(shown, pictures())

    def test_on_the_page(self) -> None:
        """The page shows every picture, with words for those who do not see it; each is XML, and has a title."""
        page = (CHECKOUT / "docs" / "learn.rst").read_text()
        named = re.findall(r"^\.\. (?:image|figure):: pictures/(\S+)\n   :alt: ", page, re.M)
        self.assertEqual(sorted(path.name for path in FOLDER.glob("*.svg")), sorted(named))
        for name in named:
            self.assertTrue(parseString((FOLDER / name).read_text()).getElementsByTagName("title"), name)
