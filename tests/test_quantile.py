"""The specification of `quantile`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.quantile import quantile


class QuantileTests(SynchronousTestCase):
    """Which of some values stands for a share of them."""

    def test_share(self) -> None:
        """That share of the values lie below it, in whatever order they come."""
        values = [4.0, 1.0, 3.0, 2.0]
        self.assertEqual([quantile(values, share) for share in (0.0, 0.25, 0.5, 0.9)], [1.0, 2.0, 3.0, 4.0])

    def test_all(self) -> None:
        """Of all values it is the greatest, though that does not lie below itself."""
        self.assertEqual(quantile([2.0, 1.0], 1.0), 2.0)

    def test_few(self) -> None:
        """A single value is every quantile."""
        self.assertEqual({quantile([7.0], share) for share in (0.0, 0.5, 0.999, 1.0)}, {7.0})

    def test_none(self) -> None:
        """Where nothing was measured there is none."""
        self.assertRaises(ValueError, quantile, [], 0.5)
