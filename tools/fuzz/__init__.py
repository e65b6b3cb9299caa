"""Search for bytes that break a parser; ``make fuzz`` does so for a bounded time."""
