"""``/metrics``, its page of the documents, the alert rules and the dashboard: one set of names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config_file import read_text
from chordtwist.app.service import NodeService, build
from chordtwist.core.histogram import COUNTS, Histogram
from chordtwist.net.web.site import WebSite
from tests import CHECKOUT
from tests.test_service import Reactor
from tests.web_client import ask, need

DOCUMENTED = re.compile(r"^   \* - ``(\w+)``\n     - (gauge|counter|histogram)$", re.M)
FROM_OUTSIDE = {"up", "instance", "cause", "job", "le", "rpc_method", "chordtwist"}
WORDS = {"rate", "increase", "sum", "by", "histogram_quantile", "label_values"}


class MetricsCase(SynchronousTestCase):
    """A node with a web side."""

    def setUp(self) -> None:
        """Start it."""
        need("prometheus_client")
        self.reactor = Reactor()
        self.node, self.site = self.start("127.0.0.1")

    def start(self, host: str) -> tuple[NodeService, WebSite]:
        """One more node, and its web side."""
        text = f"[tls]\nmode=off\n[dht]\napi_address={host}:7401\np2p_address={host}:6401\n[web]\naddress={host}:8401"
        node = build(read_text(text, "node.ini", Path("/")), self.reactor, lambda: None)
        node.privilegedStartService()
        node.startService()
        self.addCleanup(node.stopService)
        return node, self.reactor.tcpServers[-1][1]  # type: ignore[return-value]

    def shown(self, site: WebSite | None = None, **headers: Any) -> str:
        """What a scrape gets."""
        reply = ask(site or self.site, "/metrics", **headers)
        self.assertEqual(200, reply.status)
        return reply.body.decode()

    def families(self, text: str) -> dict[str, Any]:
        """By the parser of the format's own makers, who refuse what Prometheus refuses."""
        from prometheus_client.parser import text_string_to_metric_families

        return {family.name: family for family in text_string_to_metric_families(text)}


class ScrapeTests(MetricsCase):
    """What a scrape gets."""

    def test_read(self) -> None:
        """Values are those of the state at that moment."""
        families = self.families(self.shown())
        state = self.node.dht.status()
        value = {name: family.samples[0].value for name, family in families.items() if family.samples}
        self.assertEqual((1, 1, 1), tuple(value[f"chordtwist_{name}"] for name in ("member", "ready", "whole")))
        self.assertEqual(state["members_estimate"], value["chordtwist_members_estimate"])
        alarms = {sample.labels["cause"]: sample.value for sample in families["chordtwist_alarm"].samples}
        self.assertEqual((8, {0.0}), (len(alarms), set(alarms.values())))

    def test_openmetrics(self) -> None:
        """Who asks for OpenMetrics gets that; its parser, which is strict, takes it."""
        from prometheus_client.openmetrics.parser import text_string_to_metric_families

        text = self.shown(Accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertIn("chordtwist_member", {family.name for family in text_string_to_metric_families(text)})

    def test_one_registry_each(self) -> None:
        """Two nodes of one process show each its own."""
        _, other = self.start("127.0.0.2")
        self.assertIn("\nchordtwist_member 1.0\n", self.shown())
        self.successResultOf(self.node.stopService())
        self.assertIn("\nchordtwist_member 0.0\n", self.shown())
        self.assertIn("\nchordtwist_member 1.0\n", self.shown(other))

    def test_histograms(self) -> None:
        """Buckets are cumulative, and infinity is the count."""
        from chordtwist.net.web.metrics import Metrics

        hops = Histogram(COUNTS)
        for value in 0, 1, 1, 100:
            hops.observe(value)
        metrics = Metrics(self.node.dht.status, lambda: {"hops": hops}, {"Ping": hops}, "0")
        samples = {
            (sample.name, sample.labels.get("le")): sample.value
            for family in metrics.registry.collect()
            if family.name == "chordtwist_lookup_hops"
            for sample in family.samples
        }
        name = "chordtwist_lookup_hops_bucket"
        self.assertEqual((1, 3, 4), (samples[name, "0.0"], samples[name, "1.0"], samples[name, "+Inf"]))
        self.assertEqual(102, samples["chordtwist_lookup_hops_sum", None])

    def test_never_more(self) -> None:
        """However many peers and keys there are, there are as many lines."""
        from chordtwist.net.web.metrics import Metrics

        state = dict(self.node.dht.status())

        def lines() -> int:
            return len(list(self._samples(Metrics(lambda: state, dict, {}, "0"))))

        before = lines()
        peers = [f"10.0.{number // 256}.{number % 256}:6401" for number in range(2000)]
        state.update(
            successors=peers, silent=peers, suspected=peers, convicted=peers, fingers=dict.fromkeys(peers), known=2000
        )
        state["events"] = [{"at_ms": 1, "text": peer} for peer in peers]
        self.assertEqual(before, lines())

    def test_hostile_names(self) -> None:
        """Nothing that a peer says is in it."""
        text = self.shown()
        self.node.events.note(1, '</script>"\n# HELP evil')  # type: ignore[attr-defined]
        self.assertNotIn("evil", self.shown())
        self.assertEqual(len(text.splitlines()), len(self.shown().splitlines()))

    def _samples(self, metrics: Any) -> Any:
        return (sample for family in metrics.registry.collect() for sample in family.samples)


class DocumentTests(MetricsCase):
    """The page, the rules, the dashboard."""

    def setUp(self) -> None:
        """Read the page."""
        super().setUp()
        self.page = (CHECKOUT / "docs" / "metrics.rst").read_text()
        self.documented = dict(DOCUMENTED.findall(self.page))

    def test_page(self) -> None:
        """Every metric is on the page with its kind, and the page has no other."""
        types = re.findall(r"^# TYPE (\w+) (\w+)$", self.shown(), re.M)
        self.assertEqual(dict(types), self.documented)

    def known(self, expression: str) -> list[str]:
        """The metrics that an expression names; fails where one is not on the page."""
        bare = re.sub(r'"[^"]*"|\[\w+\]|\$\w+', "", expression)
        names = [name for name in re.findall(r"[a-z_]{2,}", bare) if name not in WORDS | FROM_OUTSIDE]
        for name in names:
            self.assertIn(re.sub(r"_(bucket|sum|count)$", "", name), self.documented, expression)
        return names

    def test_rules(self) -> None:
        """Every alert is made of metrics of the page, and has a paragraph there that says what to do."""
        need("yaml")
        import yaml

        rules = yaml.safe_load((CHECKOUT / "etc" / "prometheus" / "chordtwist.rules.yml").read_text())
        alerts = rules["groups"][0]["rules"]
        for alert in alerts:
            self.assertLessEqual(set(alert), {"alert", "expr", "for", "labels", "annotations"})
            self.known(alert["expr"])
            self.assertIn("summary", alert["annotations"])
        paragraphs = re.findall(r"^``(Chord\w+)``\n    \S", self.page, re.M)
        self.assertEqual([alert["alert"] for alert in alerts], paragraphs)

    def test_scrape(self) -> None:
        """The example of a configuration loads these rules and scrapes under the name that they ask for."""
        need("yaml")
        import yaml

        config = yaml.safe_load((CHECKOUT / "etc" / "prometheus" / "prometheus.yml").read_text())
        self.assertEqual(["chordtwist.rules.yml"], config["rule_files"])
        self.assertEqual(["chordtwist"], [scrape["job_name"] for scrape in config["scrape_configs"]])

    def test_dashboard(self) -> None:
        """Every panel of the dashboard shows metrics of the page, at a place of its own."""
        board = json.loads((CHECKOUT / "etc" / "grafana" / "chordtwist.json").read_text())
        for panel in board["panels"]:
            self.assertTrue(self.known(panel["targets"][0]["expr"]), panel["title"])
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
        self.assertEqual(len(board["panels"]), len(places))
