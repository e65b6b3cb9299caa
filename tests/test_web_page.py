"""The page for people: its source, its stream, its pages of a node, and what it takes orders for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.app.config import NodeConfig, TlsMode, TlsSection
from chordtwist.app.config_file import read_text
from chordtwist.app.service import NodeService, build
from chordtwist.app.testnet import Testnet, loopback_addresses, node_config
from chordtwist.app.web import web_of_testnet
from chordtwist.app.web_view import BINS, PINGED_AGAIN_S
from chordtwist.core.address import Address
from chordtwist.core.errors import Refused, Unreachable
from chordtwist.core.records import key_of
from chordtwist.net.web.answers import Page
from chordtwist.net.web.guard import Guard
from chordtwist.net.web.pages import INQUIRIES_MAX, PAGE, Asked, Front, Orders, Slots
from chordtwist.net.web.site import WebSite
from chordtwist.net.web.streams import EVERY_S, MOMENTS_PER_S, SAY_NOTHING_AFTER_S, STREAMS_MAX, UNREAD_S, Streams, Tell
from tests.test_service import Reactor
from tests.web_client import ask, need, open_connection, reply_of, request_bytes

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"


class SourceTests(SynchronousTestCase):
    """The one file."""

    def test_nothing_from_elsewhere(self) -> None:
        """It names no other host: nothing is fetched, linked or framed; the picture of its tab is in it."""
        urls = set(re.findall(r"https?://[^\s\"'`<>)]+", PAGE))
        self.assertEqual({"http://www.w3.org/2000/svg"}, urls)

    def test_text_only(self) -> None:
        """Nothing of its script makes markup or code of text."""
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc"):
            self.assertNotIn(word, PAGE)
        self.assertEqual([], re.findall(r"\son\w+=", PAGE.partition("<script>")[0]))
        self.assertEqual([], re.findall(r"\sstyle=", PAGE))

    def test_policy(self) -> None:
        """A browser runs its script and its style, by their digests, and nothing else."""
        policy = ask(site(Front(list)), "/").headers["content-security-policy"]
        self.assertRegex(policy, r"^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; ")
        self.assertNotIn("unsafe", policy)

    def test_facts(self) -> None:
        """Without scripts there are facts, in which nothing that a peer says becomes markup."""
        reply = ask(site(Front(lambda: [("Health", HOSTILE)])), "/")
        shown = reply.body.decode()
        self.assertEqual((200, "text/html; charset=utf-8"), (reply.status, reply.headers["content-type"]))
        self.assertIn("&lt;script&gt;alert(1)", shown)
        self.assertEqual(1, shown.count("<script"))
        self.assertNotIn("<img", shown)


def site(root: Any, clock: Any = None) -> WebSite:
    """A site without a token."""
    return WebSite(root, Guard(b"http"), clock or Clock())


class StreamTests(SynchronousTestCase):
    """What looks on is told."""

    def setUp(self) -> None:
        """A picture that a test changes."""
        self.clock = Clock()
        self.picture: dict[str, object] = {"members": 1}
        self.tell: Tell | None = None
        self.streams = Streams(self.clock, lambda: dict(self.picture), self.watch)
        root = Page()
        root.putChild(b"events", self.streams)
        self.site = site(root, self.clock)

    def watch(self, tell: Tell | None) -> None:
        self.tell = tell

    def look_on(self) -> tuple[Any, StringTransport]:
        """One more page."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(request_bytes("/events"))
        return channel, transport

    def told(self, transport: StringTransport) -> list[Any]:
        """The events since it was last asked: their names and data."""
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", transport.value().decode())
        transport.clear()
        return [(name, json.loads(data)) for name, data in found]

    def test_pictures(self) -> None:
        """Who looks on is shown the present at once, and then each change, once a second at most."""
        channel, transport = self.look_on()
        self.assertEqual([("ring", {"members": 1})], self.told(transport))
        self.clock.advance(EVERY_S)
        self.assertEqual([], self.told(transport))
        self.picture = {"members": 2}
        self.clock.advance(EVERY_S)
        self.assertEqual([("ring", {"members": 2})], self.told(transport))
        channel.connectionLost()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_lookups(self) -> None:
        """Lookups are told while they happen, so many a second; nobody listens to them when nobody looks on."""
        self.assertIsNone(self.tell)
        channel, transport = self.look_on()
        assert self.tell is not None
        self.told(transport)
        for number in range(10 * MOMENTS_PER_S):
            self.tell({"what": "get", "number": number})
        self.assertEqual(MOMENTS_PER_S, len(self.told(transport)))
        self.clock.advance(EVERY_S)
        self.tell({"what": "get"})
        self.assertEqual([("lookup", {"what": "get"})], self.told(transport))
        channel.connectionLost()
        self.assertIsNone(self.tell)

    def test_hostile_text(self) -> None:
        """No text begins another event: ends of lines and all are escaped, as JSON has it."""
        self.picture = {"members": "1\n\nevent: ring\ndata: {}\n\n"}
        _, transport = self.look_on()
        self.assertEqual([("ring", self.picture)], self.told(transport))

    def test_many(self) -> None:
        """Beyond the bound a page is told that there are too many; the picture is made once for all."""
        made = []
        self.streams._picture = lambda: made.append(1) or dict(self.picture)  # type: ignore[func-returns-value]
        for _ in range(STREAMS_MAX):
            self.look_on()
        self.assertEqual(503, ask(self.site, "/events").status)
        made.clear()
        self.clock.advance(EVERY_S)
        self.assertEqual([1], made)

    def test_slow(self) -> None:
        """Whoever does not read is written nothing more, sees the latest when it reads again, and is let go in time."""
        _, transport = self.look_on()
        quick = self.look_on()[1]
        transport.clear()
        quick.clear()
        (stream, _) = self.streams._streams
        stream.pauseProducing()
        for number in range(3):
            self.picture = {"members": number}
            self.clock.advance(EVERY_S)
        self.assertEqual(([], 3), (self.told(transport), len(self.told(quick))))
        stream.resumeProducing()
        self.clock.advance(EVERY_S)
        self.assertEqual([("ring", {"members": 2})], self.told(transport))
        stream.pauseProducing()
        self.clock.pump([EVERY_S] * int(UNREAD_S + 2))
        self.assertTrue(transport.disconnected)
        self.assertFalse(quick.disconnected)

    def test_quiet(self) -> None:
        """In a quiet ring a line that says nothing shows both ends that the other is there."""
        _, transport = self.look_on()
        self.told(transport)
        self.clock.pump([EVERY_S] * int(SAY_NOTHING_AFTER_S + 1))
        self.assertEqual(b"3\r\n:\n\n\r\n", transport.value())

    def test_broken_picture(self) -> None:
        """A picture that fails is in the log, and the next one is tried."""
        _, transport = self.look_on()
        self.told(transport)
        self.picture = {"members": object()}
        self.clock.advance(EVERY_S)
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))
        self.picture = {"members": 3}
        self.clock.advance(EVERY_S)
        self.assertEqual([("ring", {"members": 3})], self.told(transport))


class AskedTests(SynchronousTestCase):
    """Pages whose answer takes time."""

    def setUp(self) -> None:
        """One that answers when a test says so."""
        self.asked: list[bytes] = []
        self.answer: Deferred[Any] = Deferred()
        root = Page()
        root.putChild(b"inspect.json", Asked(self.ask, Slots()))
        self.site = site(root)

    def ask(self, key: bytes) -> Deferred[Any]:
        self.asked.append(key)
        return self.answer

    def test_key(self) -> None:
        """A key is taken as the command line takes it; what comes is shown."""
        self.answer = succeed({"found": HOSTILE})
        reply = ask(self.site, "/inspect.json?key=greeting")
        self.assertEqual((200, {"found": HOSTILE}, [key_of("greeting")]), (reply.status, reply.json, self.asked))
        self.assertEqual("application/json", reply.headers["content-type"])

    def test_bad_key(self) -> None:
        """None, or one too long, is a bad request."""
        for path in "/inspect.json", "/inspect.json?key=", "/inspect.json?key=" + "x" * 2000:
            self.assertEqual(400, ask(self.site, path).status)

    def test_errors(self) -> None:
        """Nobody to ask is 503, a refusal 409, both in words; neither is an error of the log."""
        for error, status in (Unreachable(None, HOSTILE), 503), (Refused("no"), 409):
            self.answer = fail(error)
            reply = ask(self.site, "/inspect.json?key=a")
            self.assertEqual((status, status), (reply.status, reply.json["status"]))
            self.assertNotIn("\u202e", reply.json["detail"])

    def test_bounded(self) -> None:
        """So many are under way at once and no more; one that is answered, or given up, makes room."""
        self.answer = Deferred()
        waiting = [open_connection(self.site)[0] for _ in range(INQUIRIES_MAX)]
        for channel in waiting:
            self.answer = Deferred()
            channel.dataReceived(request_bytes("/inspect.json?key=a"))
        self.assertEqual(503, ask(self.site, "/inspect.json?key=a").status)
        waiting[0].connectionLost()
        self.answer = succeed({})
        self.assertEqual([200, 200], [ask(self.site, "/inspect.json?key=a").status for _ in range(2)])
        self.assertEqual(INQUIRIES_MAX + 2, len(self.asked))
        for channel in waiting[1:]:
            channel.connectionLost()


class OrdersTests(SynchronousTestCase):
    """What changes something."""

    def setUp(self) -> None:
        """One verb works, one does not."""
        self.done = 0
        root = Page()
        root.putChild(b"nodes", Orders({"add": self.add, "kill": self.kill}))
        self.site = site(root)

    def add(self) -> str:
        self.done += 1
        return "added"

    def kill(self) -> str:
        raise Refused("the last node stays")

    def order(self, body: bytes = b'{"do":"add"}', kind: str | None = "application/json", **headers: Any) -> int:
        return ask(self.site, "/nodes", "POST", body, Content_Type=kind, **headers).status

    def test_carried_out(self) -> None:
        """An order in JSON is carried out; one that is refused says why."""
        self.assertEqual((200, 409, 1), (self.order(), self.order(b'{"do":"kill"}'), self.done))

    def test_not_by_others(self) -> None:
        """What a page of another origin may send unasked is no order, nor is anything with its Origin."""
        kinds = (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x")
        self.assertEqual([], [kind for kind in kinds if self.order(kind=kind) not in (400, 415)])
        self.assertEqual(403, self.order(Origin="http://evil.example"))
        self.assertEqual((405, 0), (ask(self.site, "/nodes").status, self.done))

    def test_nonsense(self) -> None:
        """Anything else is a bad request."""
        for body in b"{", b"[]", b'{"do":1}', b'{"do":"fly"}', b"{}", b"\xff":
            self.assertEqual(400, self.order(body), body)


class NodePageTests(SynchronousTestCase):
    """The page of one node."""

    def setUp(self) -> None:
        """A node alone."""
        need("prometheus_client")
        self.reactor = Reactor()
        text = "[tls]\nmode = off\n[dht]\n[web]\naddress = 127.0.0.1:8401"
        self.node: NodeService = build(read_text(text, "node.ini", Path("/")), self.reactor, lambda: None)
        self.node.privilegedStartService()
        self.node.startService()
        self.addCleanup(self.node.stopService)
        self.site: Any = self.reactor.tcpServers[-1][1]

    def test_pages(self) -> None:
        """Every page about the node is there, also under its address."""
        for path in (
            "status.json",
            "config.json",
            "peers.json",
            "ring.json",
            "ring.svg",
            "inspect.json?key=a",
            "trace.json?key=a",
        ):
            for whole in f"/{path}", f"/nodes/127.0.0.1:6401/{path}":
                channel, transport = open_connection(self.site)
                channel.dataReceived(request_bytes(whole))
                self.reactor.advance(0)
                self.assertEqual(200, reply_of(transport.value()).status, whole)
        self.assertEqual(404, ask(self.site, "/nodes/127.0.0.2:6401/status.json").status)
        # A node alone takes no orders.
        self.assertEqual(404, ask(self.site, "/nodes/127.0.0.1:6401/", "POST", b"{}").status)

    def test_peers_of_a_moment_ago(self) -> None:
        """Round trips are told for some seconds, and measured anew then; when that fails nothing is told, at once."""
        view = self.node.shown[0]
        pings: list[Deferred[list[dict[str, object]]]] = []

        def ping(peers: object, times: int) -> Deferred[list[dict[str, object]]]:
            pings.append(Deferred())
            return pings[-1]

        self.patch(view._node.inspection, "ping", ping)
        waiting = view.peers()
        self.assertNoResult(waiting)
        pings[0].callback([{"median_ms": 1.0}])
        self.assertEqual([{"median_ms": 1.0}], self.successResultOf(waiting))
        self.reactor.advance(PINGED_AGAIN_S - 0.1)
        self.assertEqual([{"median_ms": 1.0}], self.successResultOf(view.peers()))
        self.reactor.advance(600)
        waiting = view.peers()
        self.assertNoResult(waiting)
        pings[1].errback(RuntimeError("no sockets"))
        self.assertEqual([], self.successResultOf(waiting))
        self.assertEqual(2, len(pings))

    def test_no_secrets(self) -> None:
        """The configuration in force is shown without its secrets."""
        self.assertEqual("", ask(self.site, "/config.json").json["tls"]["secret"])

    def test_picture(self) -> None:
        """The picture has the node, and its records as shades."""
        self.successResultOf(self.node.dht.put(key_of("a"), b"v"))
        self.reactor.advance(20)
        picture = self.node.shown[0].picture()
        nodes: Any = picture["nodes"]
        self.assertEqual([("127.0.0.1:6401", "me")], [(node["address"], node["role"]) for node in nodes])
        self.assertEqual(self.node.dht.status()["epoch"], nodes[0]["since_ms"])
        shades: Any = picture["shades"]
        self.assertEqual((BINS, 1), (len(shades), sum(shades)))

    def test_watched(self) -> None:
        """What clients ask is told to whoever looks on, and to nobody else."""
        seen: list[dict[str, object]] = []
        self.node.dht.get(key_of("a"))
        self.node.shown[0].watch(seen.append)
        self.node.dht.get(key_of("a"))
        self.node.shown[0].watch(None)
        self.node.dht.get(key_of("a"))
        (moment,) = [moment for moment in seen if moment["what"] == "get"]
        self.assertEqual((key_of("a").hex(), ["127.0.0.1:6401"] * 2), (moment["key"], moment["way"]))


class TestnetPageTests(SynchronousTestCase):
    """One page for all nodes of a process."""

    def setUp(self) -> None:
        """Two nodes."""
        need("prometheus_client")
        self.reactor = Reactor()
        common = NodeConfig(tls=TlsSection(mode=TlsMode.OFF))
        self.testnet = Testnet(self.reactor, lambda host: node_config(common, host, 6401, "127.0.0.1"), 2)
        for host in loopback_addresses("127.0.0.1", 2):
            self.testnet.add(host)
        self.testnet.startService()
        self.addCleanup(self.testnet.stopService)
        self.site = web_of_testnet(Address("127.0.0.1", 8401), self.testnet, self.reactor).site

    def order(self, path: str, verb: str) -> Any:
        body = json.dumps({"do": verb}).encode()
        reply = ask(self.site, path, "POST", body, Content_Type="application/json")
        return reply.status, reply.json

    def test_nodes(self) -> None:
        """Each node has its pages; the first page shows all of them."""
        for host in "127.0.0.1", "127.0.0.2":
            state = ask(self.site, f"/nodes/{host}:6401/status.json").json
            self.assertEqual(f"{host}:6401", state["address"])
        self.assertIn("127.0.0.2:6401", ask(self.site, "/").body.decode())

    def test_add_and_kill(self) -> None:
        """A node is added behind the last; one is killed, and its pages with it; the last stays."""
        self.assertEqual((200, {"done": "127.0.0.3:6401 joins"}), self.order("/nodes", "add"))
        self.assertTrue(self.testnet.nodes["127.0.0.3:6401"].running)
        self.assertEqual(200, self.order("/nodes/127.0.0.3:6401/", "kill")[0])
        self.reactor.advance(1)
        self.assertEqual(["127.0.0.1:6401", "127.0.0.2:6401"], list(self.testnet.nodes))
        self.assertEqual(404, ask(self.site, "/nodes/127.0.0.3:6401/status.json").status)
        self.assertEqual(200, self.order("/nodes/127.0.0.1:6401/", "leave")[0])
        status, said = self.order("/nodes/127.0.0.2:6401/", "kill")
        self.assertEqual((409, True), (status, "last node stays" in said["detail"]))

    def test_pause(self) -> None:
        """A node is paused and goes on; meanwhile it is shown as paused, and counts for no member."""
        pictures: list[Any] = []
        self.order("/nodes/127.0.0.2:6401/", "pause")
        channel, transport = open_connection(self.site)
        channel.dataReceived(request_bytes("/events"))
        self.addCleanup(channel.connectionLost)
        for _ in range(2):
            self.reactor.advance(1)
            line = [line for line in transport.value().splitlines() if line.startswith(b"data: ")][-1]
            pictures.append(json.loads(line.removeprefix(b"data: ")))
            self.order("/nodes/127.0.0.2:6401/", "resume")
        paused = [{node["address"]: node["paused"] for node in picture["nodes"]} for picture in pictures]
        self.assertEqual([{"127.0.0.1:6401": False, "127.0.0.2:6401": now} for now in (True, False)], paused)
        self.assertEqual(409, self.order("/nodes/127.0.0.2:6401/", "resume")[0])

    def test_ready(self) -> None:
        """The whole is ready when each node is; else it says which is not, and why."""
        self.assertEqual(200, ask(self.site, "/healthz").status)
        self.order("/nodes/127.0.0.1:6401/", "pause")
        reply = ask(self.site, "/readyz")
        self.assertEqual((503, "127.0.0.1:6401: paused"), (reply.status, reply.json["reasons"][0]))
        self.order("/nodes/127.0.0.1:6401/", "resume")
        for view, measured in self.testnet.shown().values():
            reasons = ask(self.site, f"/nodes/{view.address}/readyz").json.get("reasons", [])
            self.assertEqual(measured.unready(), reasons)
