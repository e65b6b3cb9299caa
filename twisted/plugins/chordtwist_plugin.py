"""Tells twistd of the `chord` command and reactor; nothing else may stand here: every ``twistd --help`` imports it."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

chord = ServiceMaker("Chord node", "chordtwist.app.plugin", "Run one node of a Chord ring.", "chord")

chord_reactor = Reactor("chord", "chordtwist.app.event_loop", "epoll, and what a turn writes goes out when it ends.")
