"""A node that says how it is after 10 s, not after a minute: ``python -m tests.hasty_build run -c FILE``."""

from __future__ import annotations

from chordtwist.core import health

QUIET_S = 10.0

if __name__ == "__main__":
    health.QUIET_S = QUIET_S
    from chordtwist.app.cli import main

    main()
