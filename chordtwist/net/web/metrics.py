"""``/metrics``: what the state of a node says in numbers, for Prometheus.

Values are read from the state when somebody asks; nothing here is counted twice. docs/metrics.rst has every name, and a
test compares the two. No metric has a label whose values grow with peers or keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from platform import python_version
from typing import Any, cast

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from twisted.web.server import Request

import twisted
from chordtwist.core.health import Cause
from chordtwist.core.histogram import Histogram
from chordtwist.net.web.answers import Page, show

Status = Mapping[str, Any]
Histograms = Mapping[str, Histogram]

_Read = Callable[[Status], float]


@dataclass(frozen=True, slots=True)
class Number:
    """A metric that is one number of the state; `help` is its line for people."""

    name: str
    help: str
    read: _Read
    is_counter: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A metric with a number for each of a few causes, under `label`."""

    name: str
    help: str
    label: str
    read: Callable[[Status], Mapping[str, float]]
    is_counter: bool = False


def _in(group: str, name: str) -> _Read:
    return lambda status: float(status[group][name])


def _field(name: str) -> _Read:
    return lambda status: float(status[name])


def _length(name: str) -> _Read:
    return lambda status: float(len(status[name]) + status.get("left_out", {}).get(name, 0))


def _alarms(status: Status) -> dict[str, float]:
    on = {alarm["cause"] for alarm in status["alarms"]}
    return {cause.value: float(cause.value in on) for cause in Cause}


NUMBERS: tuple[Number | Group, ...] = (
    Number("chordtwist_member", "Whether the node is a member of the ring.", _field("member")),
    Number("chordtwist_ready", "Whether /readyz says ready.", _field("ready")),
    Group("chordtwist_alarm", "Whether an alarm is on.", "cause", _alarms),
    Number("chordtwist_members_estimate", "Members of the ring, by the density of ids.", _field("members_estimate")),
    Number("chordtwist_whole", "Whether the successor list is the whole ring.", _field("whole")),
    Number("chordtwist_live_successor", "Whether a successor answers, or there is none.", _field("live_successor")),
    Number("chordtwist_skipped_by", "Members whose tables pass this node over.", _length("skipped_by")),
    Number("chordtwist_successors", "Entries of the successor list.", _length("successors")),
    Number("chordtwist_fingers", "Entries of the finger table.", _length("fingers")),
    Number("chordtwist_silent", "Neighbours and fingers that are silent.", _length("silent")),
    Number("chordtwist_suspected", "Peers whose lists leave out members that answer.", _length("suspected")),
    Number("chordtwist_convicted", "Peers thrown out for what they signed.", _length("convicted")),
    Number("chordtwist_known_peers", "Peers in the address book.", _field("known")),
    Number("chordtwist_records", "Records kept.", _field("records")),
    Number("chordtwist_record_bytes", "Bytes of their values.", _field("bytes")),
    Number("chordtwist_tombstones", "Tombstones kept.", _field("tombstones")),
    Number("chordtwist_published_records", "Records that this node publishes again.", _field("published")),
    Number("chordtwist_pulling", "Whether records of its arc are still being pulled.", _field("pulling")),
    Number(
        "chordtwist_copies_refused", "Copies that replicas refused in the last round of repair.", _in("repair", "below")
    ),
    Number("chordtwist_repair_rounds", "Rounds of repair.", _in("repair", "rounds"), True),
    Number("chordtwist_repair_sent", "Records sent by repair.", _in("repair", "sent"), True),
    Number("chordtwist_repair_fetched", "Records fetched by repair.", _in("repair", "fetched"), True),
    Number("chordtwist_repair_dropped", "Stray records dropped.", _in("repair", "dropped"), True),
    Number("chordtwist_links_open", "Links to other nodes.", _in("links", "open")),
    Number("chordtwist_links_pending", "Accepted connections without a Hello yet.", _in("links", "pending")),
    Number("chordtwist_links_proved", "Peers that answered at the address they claim.", _in("links", "proved")),
    Number("chordtwist_handshakes_dialled", "Links that this node made.", _in("links", "dialled"), True),
    Number("chordtwist_handshakes_failed", "Dials that came to nothing.", _in("links", "dials_failed"), True),
    Number("chordtwist_handshakes_accepted", "Connections that this node took.", _in("links", "accepted"), True),
    Number("chordtwist_breaches", "Breaches of the protocol by others.", _in("links", "breaches"), True),
    Number(
        "chordtwist_link_bytes_written",
        "Bytes written on links, before encryption.",
        _in("links", "bytes_written"),
        True,
    ),
    Group(
        "chordtwist_refused",
        "What was refused of other nodes.",
        "cause",
        lambda status: cast(Mapping[str, float], status["refusals"]),
        True,
    ),
    Number("chordtwist_clients_connected", "Clients of the API.", _in("clients", "connected")),
    Number("chordtwist_clients_refused", "What was refused of clients of the API.", _in("clients", "refused"), True),
    Number("chordtwist_lookups_failed", "Lookups that found nobody to ask.", _in("lookups", "failed"), True),
    Number("chordtwist_reactor_late_seconds", "Time by which the process was late.", _field("late_s"), True),
)
"""Every metric that is read from the state; ``_total`` is added to the names of counters."""

OF_LOOKUPS = {
    "hops": ("chordtwist_lookup_hops", "Hops of the lookups that found somebody."),
    "questions": ("chordtwist_lookup_questions", "Questions that each of them asked."),
    "seconds": ("chordtwist_lookup_duration_seconds", "How long each of them took."),
}

ANSWERS = ("rpc_server_call_duration_seconds", "How long the node took to answer a question, by its kind.")
"""Named as OpenTelemetry's conventions for RPC have it, so that boards for any RPC system show it."""

INFO = ("chordtwist_build", "Versions of what runs; always 1.")


class Metrics:
    """The metrics of one node, in a registry of their own: several nodes may live in one process."""

    def __init__(
        self,
        status: Callable[[], Status],
        lookups: Callable[[], Histograms],
        answers: Histograms,
        version: str,
    ) -> None:
        """@param version: of this program."""
        self._status = status
        self._lookups = lookups
        self._answers = answers
        self._version = version
        self.registry = CollectorRegistry()
        self.registry.register(cast(Any, self))
        ProcessCollector(registry=self.registry)

    def describe(self) -> list[Any]:
        """Name nothing beforehand: a node that is being built has no state to read."""
        return []

    def collect(self) -> Iterator[Any]:
        """Read all of it, for the registry."""
        yield InfoMetricFamily(
            *INFO, {"version": self._version, "python": python_version(), "twisted": twisted.__version__}
        )
        status = self._status()
        for metric in NUMBERS:
            family: Any = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
            if isinstance(metric, Number):
                yield family(metric.name, metric.help, metric.read(status))
                continue
            values = family(metric.name, metric.help, labels=[metric.label])
            for cause, value in metric.read(status).items():
                values.add_metric([cause], value)
            yield values
        for measure, histogram in self._lookups().items():
            of_lookups: Any = HistogramMetricFamily(*OF_LOOKUPS[measure])
            of_lookups.add_metric([], _buckets(histogram), histogram.sum)
            yield of_lookups
        answers: Any = HistogramMetricFamily(*ANSWERS, labels=["rpc_system_name", "rpc_method"])
        for kind, histogram in sorted(self._answers.items()):
            answers.add_metric(["chordtwist", kind], _buckets(histogram), histogram.sum)
        yield answers


def _buckets(histogram: Histogram) -> list[tuple[str, int]]:
    return [("+Inf" if bound == float("inf") else repr(float(bound)), count) for bound, count in histogram.cumulative()]


class MetricsPage(Page):
    """``/metrics``."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> None:
        """Show them, in the form that the client prefers: OpenMetrics, or Prometheus' own text."""
        accepted = b",".join(request.requestHeaders.getRawHeaders(b"accept", [])).decode("latin-1")
        encode, kind = exposition.choose_encoder(accepted)
        body: bytes = encode(self._metrics.registry)
        show(request, body, kind.encode())
