"""Tells twistd of the `chord` command; nothing else may stand here, since every ``twistd --help`` imports it."""

from twisted.application.service import ServiceMaker

chord = ServiceMaker("Chord node", "chordtwist.app.plugin", "Run one node of a Chord ring.", "chord")
