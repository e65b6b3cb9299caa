"""Tests with real sockets and processes; all others run in memory."""
