"""Fuzzing: every parser that reads a stranger's bytes, fed with what no test thought of; ``make fuzz``."""
