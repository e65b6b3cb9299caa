"""What questions cost is measured by a tool, for the table of docs/security.rst."""

from __future__ import annotations

import contextlib
import io
import json

from twisted.trial.unittest import SynchronousTestCase

from tests.flooding import QUESTIONS
from tools.prices import measured


class PricesTests(SynchronousTestCase):
    """``tools.prices``, of a node that keeps next to nothing."""

    def test_all_questions(self) -> None:
        """Each question is asked and measured, whether it is answered or is a breach."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            measured(records=10, times=1)
        prices = [json.loads(line) for line in printed.getvalue().splitlines()]
        self.assertEqual({question.__name__ for question in QUESTIONS}, {price["question"] for price in prices})
        answers = {price["name"]: price["answer"] for price in prices}
        self.assertEqual(
            ("Pong", "Noted", "Malformed"), tuple(answers[name] for name in ("Ping", "Accuse", "Solution"))
        )
        ms = {price["name"]: price["ms"] for price in prices}
        self.assertGreater(ms["StoreAll"], 100 * ms["Ping"])
