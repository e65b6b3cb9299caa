"""The web side of a node: who is served, within which bounds, and the pages for programs."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import IO, Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import Request

from chordtwist.core.fitting import STATE_BYTES_MAX, fitted
from chordtwist.net.web.answers import Page, show
from chordtwist.net.web.guard import Guard
from chordtwist.net.web.pages import Alive, Ready, State
from chordtwist.net.web.site import REQUEST_BYTES_MAX, REQUEST_WITHIN_S, WEB_CONNECTIONS_MAX, WebSite
from tests.web_client import ask, open_connection, reply_of, request_bytes

TOKEN = b"0123456789abcdef"


class Echo(Page):
    """Shows what it is sent; fails when that is nothing; waits when told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Deferred[None]] = []
        self.cancelled = 0

    def render_POST(self, request: Request) -> object:
        """Answer."""
        body = cast(IO[bytes], request.content).read()
        if body == b"wait":
            self.waiting.append(Deferred(self._cancelled))
            return self.waiting[-1]
        assert body, "nothing came"
        show(request, body, b"text/plain")
        return None

    def _cancelled(self, waiting: Deferred[None]) -> None:
        self.cancelled += 1


class SiteCase(SynchronousTestCase):
    """A site with two pages."""

    def setUp(self) -> None:
        """Nobody needs a token."""
        self.clock = Clock()
        self.echo = Echo()
        self.reasons: list[str] = []
        self.state: dict[str, object] = {"schema": 1}
        root = Page()
        root.putChild(b"healthz", Alive())
        root.putChild(b"readyz", Ready(lambda: self.reasons))
        root.putChild(b"status.json", State(lambda: self.state))
        root.putChild(b"echo", self.echo)
        self.site = WebSite(root, Guard(b"http", ["node.example"]), self.clock)


class PageTests(SiteCase):
    """What programs look at."""

    def test_alive(self) -> None:
        """``/healthz`` answers while the process does."""
        reply = ask(self.site, "/healthz")
        self.assertEqual((200, {"status": "alive"}), (reply.status, reply.json))

    def test_ready(self) -> None:
        """``/readyz`` answers 200, or 503 with the reasons as problem details."""
        self.assertEqual(200, ask(self.site, "/readyz").status)
        self.reasons += ["1 of 4 neighbours answer", "No space left on device"]
        reply = ask(self.site, "/readyz")
        self.assertEqual((503, "application/problem+json"), (reply.status, reply.headers["content-type"]))
        self.assertEqual((503, self.reasons), (reply.json["status"], reply.json["reasons"]))

    def test_state(self) -> None:
        """``/status.json`` is what the node says of itself, never from a cache."""
        reply = ask(self.site, "/status.json")
        self.assertEqual((200, self.state, "no-store"), (reply.status, reply.json, reply.headers["cache-control"]))

    def test_head(self) -> None:
        """HEAD has the headers of GET and no body."""
        reply = ask(self.site, "/healthz", "HEAD")
        self.assertEqual((200, b"", "19"), (reply.status, reply.body, reply.headers["content-length"]))

    def test_nothing_there(self) -> None:
        """What is not there, and what a place does not do, is said in problem details."""
        for method, path, status in ("GET", "/echo", 405), ("GET", "/no", 404), ("GET", "/healthz/no", 404):
            reply = ask(self.site, path, method)
            self.assertEqual((status, status), (reply.status, reply.json["status"]), path)
        reply = ask(self.site, "/healthz", "POST", b"x")
        self.assertEqual((405, "GET"), (reply.status, reply.headers["allow"]))

    def test_strict_headers(self) -> None:
        """Every answer forbids browsers to run, to guess and to frame anything; refusals do so too."""
        for reply in ask(self.site, "/healthz"), ask(self.site, "/no"), ask(self.site, "/", Host="evil.example"):
            self.assertIn("default-src 'none'", reply.headers["content-security-policy"])
            self.assertEqual("nosniff", reply.headers["x-content-type-options"])
            self.assertEqual("same-origin", reply.headers["cross-origin-resource-policy"])
            self.assertEqual("chordtwist", reply.headers["server"])
            self.assertNotIn("access-control-allow-origin", reply.headers)

    def test_our_fault(self) -> None:
        """A page that fails is answered with 500, without a traceback, which is in the log."""
        reply = ask(self.site, "/echo", "POST")
        self.assertEqual((500, "the node failed to answer; its log has more"), (reply.status, reply.json["detail"]))
        self.assertEqual(1, len(self.flushLoggedErrors(AssertionError)))

    def test_client_gone(self) -> None:
        """Nobody works on for a client that is gone, and no line is written about it."""
        channel, _ = open_connection(self.site)
        channel.dataReceived(request_bytes("/echo", "POST", b"wait"))
        channel.connectionLost()
        self.assertEqual(1, self.echo.cancelled)


class GuardTests(SiteCase):
    """Who is served."""

    def test_hosts(self) -> None:
        """Served is whoever asks for an IP address, localhost or a name of ours: any other name may lead here by the
        will of somebody else, whose page would then be of one origin with ours.
        """
        for host, status in {
            "127.0.0.1:8401": 200,
            "[::1]:8401": 200,
            "localhost": 200,
            "LOCALHOST.:1": 200,
            "Node.Example:8401": 200,
            "192.0.2.1.": 421,
            "node.example.evil.example": 421,
            "evil.example:8401": 421,
            "": 400,
            "a b": 400,
            "[::1": 400,
            "127.0.0.1:8401:2": 400,
            "user@127.0.0.1": 400,
        }.items():
            self.assertEqual(status, ask(self.site, "/healthz", Host=host).status, host)
        self.assertEqual(400, ask(self.site, "/healthz", Host=None).status)
        self.assertEqual(400, ask(self.site, "/healthz", Host="localhost\r\nHost: evil.example").status)

    def test_token(self) -> None:
        """With a token everything needs it, as a bearer's or as a browser's password; nothing else is let through."""
        self.site.guard.token = TOKEN
        basic = b64encode(b"anybody:" + TOKEN).decode()
        for given, status in {
            f"Bearer {TOKEN.decode()}": 200,
            f"bearer  {TOKEN.decode()}": 200,
            f"Basic {basic}": 200,
            "": 401,
            "Bearer": 401,
            "Bearer 0123456789abcdeg": 401,
            f"Digest {TOKEN.decode()}": 401,
            "Basic !!": 401,
            "Basic \xe9": 401,
        }.items():
            for path in "/healthz", "/status.json", "/no":
                reply = ask(self.site, path, Authorization=given)
                self.assertEqual(status == 401, reply.status == 401, (given, path))
        reply = ask(self.site, "/healthz")
        self.assertEqual((401, 401), (reply.status, reply.json["status"]))
        self.assertIn("Basic", reply.headers["www-authenticate"])

    def test_origin(self) -> None:
        """Pages of other origins change nothing; programs, which have none, and our own page do."""
        for origin, status in {
            None: 200,
            "http://127.0.0.1:8401": 200,
            "https://127.0.0.1:8401": 403,
            "http://127.0.0.1:8402": 403,
            "http://evil.example": 403,
            "null": 403,
        }.items():
            self.assertEqual(status, ask(self.site, "/echo", "POST", b"x", Origin=origin).status, origin)
        self.assertEqual(200, ask(self.site, "/healthz", Origin="http://evil.example").status)

    def test_fetched(self) -> None:
        """In the name of another origin's page a browser may come here, and asks for nothing in the background."""
        for site, mode, dest, status in (
            ("same-origin", "cors", "empty", 200),
            ("none", "navigate", "document", 200),
            ("cross-site", "navigate", "document", 200),
            ("cross-site", "navigate", "iframe", 403),
            ("cross-site", "no-cors", "image", 403),
            ("same-site", "cors", "empty", 403),
        ):
            headers: Any = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": dest}
            self.assertEqual(status, ask(self.site, "/healthz", **headers).status, headers)
        leading: Any = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
        self.assertEqual(403, ask(self.site, "/echo", "POST", b"x", **leading).status)


class BoundTests(SiteCase, TestCase):
    """What one who asks can cost."""

    def test_long_body(self) -> None:
        """A body beyond the bound is refused as soon as its length is known, or as it comes; the connection ends."""
        for headers, body in (
            (f"Content-Length: {REQUEST_BYTES_MAX + 1}", b""),
            ("Transfer-Encoding: chunked", (b"8000\r\n" + bytes(0x8000) + b"\r\n") * 3 + b"0\r\n\r\n"),
        ):
            channel, transport = open_connection(self.site)
            channel.dataReceived(f"POST /echo HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n".encode() + body)
            reply = reply_of(transport.value())
            self.assertEqual((413, 413, True), (reply.status, reply.json["status"], transport.disconnecting), headers)
            channel.dataReceived(request_bytes("/healthz"))
            self.assertEqual(1, transport.value().count(b"HTTP/1.1"), headers)

    def test_longest_body(self) -> None:
        """The longest one that is taken comes through whole."""
        body = bytes(range(256)) * (REQUEST_BYTES_MAX // 256)
        self.assertEqual(body, ask(self.site, "/echo", "POST", body).body)

    def test_trickling(self) -> None:
        """A request that does not end is ended, however it trickles; so is a connection that asks nothing."""
        channel, transport = open_connection(self.site)
        _, idle_transport = open_connection(self.site)
        for byte in request_bytes("/healthz")[:-1]:
            channel.dataReceived(bytes([byte]))
            self.clock.advance(REQUEST_WITHIN_S / 30)
        self.assertEqual((True, True), (transport.disconnected, idle_transport.disconnected))

    def test_answer_takes_its_time(self) -> None:
        """While the node works on an answer, nobody's time runs."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(request_bytes("/echo", "POST", b"wait"))
        self.clock.advance(10 * REQUEST_WITHIN_S)
        self.assertFalse(transport.disconnected)

    def test_headers(self) -> None:
        """Headers without end are refused."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(
            b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"x" * 200) for i in range(100))
        )
        self.assertEqual((400, True), (reply_of(transport.value() + b"\r\n\r\n").status, transport.disconnecting))

    def test_no_request(self) -> None:
        """Who speaks the API's protocol here is told so at once; an empty line before a request is allowed."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(bytes((0, 36, 2, 139)))
        self.assertTrue(transport.disconnected)
        channel, transport = open_connection(self.site)
        channel.dataReceived(b"\r\n" + request_bytes("/status"))
        self.assertIn(b"HTTP/1.1 ", transport.value())

    def test_connections(self) -> None:
        """Beyond the bound, whoever has waited longest without a request makes room; where all are served, nobody."""
        opened = [open_connection(self.site) for _ in range(WEB_CONNECTIONS_MAX)]
        opened[0][0].dataReceived(request_bytes("/healthz"))  # has waited less long than the second from now on
        for channel, _ in opened[2:]:
            channel.dataReceived(request_bytes("/echo", "POST", b"wait"))
        _, transport = open_connection(self.site)
        self.assertEqual([False, True, False], [opened[n][1].disconnected for n in (0, 1, 2)])
        self.assertEqual(WEB_CONNECTIONS_MAX, len(self.site.channels))
        opened[0][0].connectionLost()
        open_connection(self.site)[0].dataReceived(request_bytes("/echo", "POST", b"wait"))
        self.assertFalse(transport.disconnected)
        open_connection(self.site)[0].dataReceived(request_bytes("/echo", "POST", b"wait"))
        self.assertTrue(transport.disconnected)
        self.assertIsNone(self.site.buildProtocol(None))
        for waiting in self.echo.waiting:
            waiting.callback(None)

    def test_one_at_a_time(self) -> None:
        """Requests that are sent before the answer to the last one are not served, with a body or without, whether the
        answer came at once or not: no single read makes the node answer thousands.
        """
        again = request_bytes("/healthz")
        for first, path in (
            (request_bytes("/healthz"), "alive"),
            (request_bytes("/echo", "POST", b"said"), "said"),
            (request_bytes("/echo", "POST", b"wait"), ""),
        ):
            channel, transport = open_connection(self.site)
            channel.dataReceived(first + 1000 * again)
            for waiting in self.echo.waiting:
                waiting.callback(None)
                request = channel.requests[0]
                request.finish()
            self.echo.waiting.clear()
            self.assertEqual((1, True), (transport.value().count(b"HTTP/1.1 200"), transport.disconnecting), first)
            self.assertIn(path.encode(), transport.value())

    def test_unread(self) -> None:
        """An answer that nobody reads does not keep its connection, also where that was to end with it."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(request_bytes("/healthz", headers={"Connection": "close"}))
        self.assertFalse(transport.disconnected)
        self.clock.advance(REQUEST_WITHIN_S)
        self.assertTrue(transport.disconnected)

    def test_close(self) -> None:
        """Closing ends every connection at once."""
        _, transport = open_connection(self.site)
        self.site.close()
        self.assertTrue(transport.disconnected)

    def test_no_lines(self) -> None:
        """No request, answered, refused or given up, writes a line at info or above."""
        log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        for path in "/healthz", "/no":
            ask(self.site, path)
        ask(self.site, "/healthz", Host="evil.example")
        self.clock.advance(10 * REQUEST_WITHIN_S)
        self.assertEqual([], [event for event in log if event["log_level"].name != "debug"])


class FittingTests(SynchronousTestCase):
    """A state at most so long."""

    def fitted(self, state: dict[str, object]) -> tuple[dict[str, Any], int]:
        """It, as whoever reads it has it, and its size."""
        text = json.dumps(fitted(state), separators=(",", ":"), ensure_ascii=False).encode()
        return json.loads(text), len(text)

    def test_short(self) -> None:
        """What fits is left as it is."""
        state: dict[str, object] = {"schema": 1, "events": [{"at_ms": 1, "text": "x"}]}
        self.assertEqual(state, fitted(state))

    def test_long(self) -> None:
        """What does not fit loses of what is longest; it says how much; of events the latest stay."""
        events = [{"at_ms": at, "text": "\x01" * 300} for at in range(100)]
        state, size = self.fitted({"schema": 1, "member": True, "events": events, "successors": ["x"] * 126})
        self.assertLessEqual(size, STATE_BYTES_MAX)
        self.assertEqual((1, True, 126), (state["schema"], state["member"], len(state["successors"])))
        self.assertEqual(99, state["events"][-1]["at_ms"])
        self.assertEqual(100, len(state["events"]) + state["left_out"]["events"])

    def test_everything_long(self) -> None:
        """However much of everything there is, it fits."""
        state: dict[str, object] = {f"list{i}": [f"\u2028{j}" for j in range(5000)] for i in range(20)}
        state |= {"group": {str(j): "x" * 50 for j in range(5000)}, "words": "<b>" * 100_000, "number": 3}
        found, size = self.fitted(state)
        self.assertLessEqual(size, STATE_BYTES_MAX)
        self.assertEqual((3, 22), (found["number"], len(found["left_out"])))
