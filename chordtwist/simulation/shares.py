"""A share of many, with the interval that holds it with 95 % (Wilson 1927)."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

Z = 1.96


@dataclass
class Share:
    """How many of all."""

    right: int = 0
    of: int = 0

    def count(self, is_right: bool) -> None:
        self.right += is_right
        self.of += 1

    def as_json(self) -> dict[str, object]:
        low, high = interval(self.right, self.of)
        share = self.right / self.of if self.of else 0.0
        return {"of": self.of, "right": self.right, "share": round(share, 5), "low": low, "high": high}


def interval(right: int, of: int) -> tuple[float, float]:
    """Compute the Wilson interval of a share, 95 %."""
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return round(max(0.0, middle - reach), 5), round(min(1.0, middle + reach), 5)
