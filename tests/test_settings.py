"""Options that stand over the configuration file: of the command line, of the environment, of a program."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import Level, NodeConfig
from chordtwist.app.config_file import read_file, read_text
from chordtwist.app.settings import from_environment, from_mapping, from_options
from chordtwist.core.errors import ConfigurationError

FOLDER = Path("/etc/chordtwist")


class SettingsTests(SynchronousTestCase):
    def test_over_the_file(self) -> None:
        """They stand over what the file says, the later ones over the earlier ones, and leave the rest of it."""
        environment = {"CHORDTWIST_DHT_REPLICATION": "5", "CHORDTWIST_LOG_LEVEL": "debug", "CHORDTWIST_API": "x"}
        over = [*from_environment(environment), *from_options(["dht.replication = 6"])]
        config = read_text("[dht]\nreplication = 3\nsuccessors = 12\n", "node.ini", FOLDER, over)
        self.assertEqual((6, 12, Level.DEBUG), (config.dht.replication, config.dht.successors, config.log.level))

    def test_without_file(self) -> None:
        """Without a file they stand over the defaults."""
        self.assertEqual(NodeConfig(), read_file(None))
        config = read_file(None, from_mapping({"dht.network": "lab", "dht.default_store_duration": "2h"}))
        self.assertEqual(("lab", 7200), (config.dht.network, config.dht.default_store_duration))

    def test_paths(self) -> None:
        """Relative paths of theirs start at the current folder, those of the file at its own."""
        over = from_options(["dht.state_dir=here"])
        self.assertEqual(Path.cwd() / "here", read_text("[dht]\n", "node.ini", FOLDER, over).dht.state_dir)

    def test_mistakes(self) -> None:
        """Whatever is wrong is told with the place where it was given."""
        for make, said in (
            (
                lambda: from_options(["dht.replicaton=3"]),
                "--set: dht.replicaton: no such option; did you mean dht.repl",
            ),
            (lambda: from_options(["dth.replication=3"]), "--set: dth.replication: no such section; they are dht, tls"),
            (lambda: from_options(["replication=3"]), "--set: 'replication' is not section.key=value"),
            (lambda: from_options(["dht.replication"]), "--set: 'dht.replication' is not section.key=value"),
            (
                lambda: from_environment({"CHORDTWIST_DHT_COPIES": "3"}),
                "CHORDTWIST_DHT_COPIES of the environment: dht.",
            ),
            (lambda: from_mapping({"x": "3"}), "settings: x."),
            (lambda: from_mapping({"dht.replication": 3}), "settings: dht.replication: is no text but of type int"),
        ):
            self.assertIn(said, str(self.assertRaises(ConfigurationError, make)))
        for over, said in (
            (from_options(["dht.replication=many"]), "--set: dht.replication: 'many' is not a whole number"),
            (
                from_environment({"CHORDTWIST_DHT_REPLICATION": "99"}),
                "CHORDTWIST_DHT_REPLICATION of the environment: dht",
            ),
        ):
            error = self.assertRaises(ConfigurationError, read_text, "[dht]\n", "node.ini", FOLDER, over)
            self.assertTrue(str(error).startswith(said), error)
