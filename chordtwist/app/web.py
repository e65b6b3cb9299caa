"""The web side of a node as its configuration has it: what is shown where, to whom, over which transport."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import IResource
from twisted.web.server import Request
from zope.interface import implementer

from chordtwist import __version__
from chordtwist.app import ring_picture
from chordtwist.app.config import WebSection
from chordtwist.app.web_view import NodeView, Tell
from chordtwist.core.address import Address
from chordtwist.core.histogram import Histogram
from chordtwist.net.web.answers import Page
from chordtwist.net.web.guard import Guard
from chordtwist.net.web.keys import Described, Keys
from chordtwist.net.web.pages import Alive, Asked, Drawn, Front, Orders, Ready, Slots, State
from chordtwist.net.web.site import WEB_CONNECTIONS_MAX, WebSite
from chordtwist.net.web.streams import Streams

TOKEN_BYTES_MIN = 16
"""Shorter ones are found by trying."""

UNREADY_SHOWN_MAX = 20
"""Reasons that a whole testnet is not ready, of its nodes'."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured of a node besides its status.

    @ivar unready: says why nobody should be sent to it. @ivar lookups: hops, questions and seconds of its lookups.
    @ivar answers: seconds that it took to answer, by kind of question.
    """

    unready: Callable[[], list[str]]
    lookups: Callable[[], Mapping[str, Histogram]]
    answers: Mapping[str, Histogram]


def pages_of(view: NodeView, measured: Measured) -> Page:
    """Make the pages about one node."""
    # Here, since it takes as long to load as a tenth of all that a command loads.
    from chordtwist.net.web.metrics import Metrics, MetricsPage

    pages, slots = Page(), Slots()
    pages.putChild(b"healthz", Alive())
    pages.putChild(b"readyz", Ready(measured.unready))
    pages.putChild(b"status.json", State(view.status))
    pages.putChild(b"metrics", MetricsPage(Metrics(view.status, measured.lookups, measured.answers, __version__)))
    pages.putChild(b"config.json", State(lambda: view.config))
    # All who ask at once share one round of questions.
    pages.putChild(b"peers.json", Asked(lambda key: view.peers(), Slots(WEB_CONNECTIONS_MAX), needs_key=False))
    pages.putChild(b"ring.json", Asked(lambda key: view.ring(), slots, needs_key=False))
    pages.putChild(b"ring.svg", Drawn(lambda: view.ring().addCallback(ring_picture.picture), slots))
    pages.putChild(b"inspect.json", Asked(view.inspect, slots))
    pages.putChild(b"trace.json", Asked(view.trace, slots))
    return pages


def web_of_node(section: WebSection, view: NodeView, measured: Measured, reactor: Any) -> WebSide:
    """Make the web side of one node. @raise ValueError: as `WebSide`."""
    pages = pages_of(view, measured)
    streams = Streams(reactor, view.picture, view.watch)
    nodes = Page()
    nodes.putChild(view.address.encode(), pages)
    root = Front(lambda: facts_of(view.status()))
    keys = Keys(view.dht, view.now_ms, reactor)
    first_version = Page()
    first_version.putChild(b"keys", keys)
    first_version.putChild(b"openapi.json", Described())
    for name, page in {b"nodes": nodes, b"events": streams, b"v1": first_version, **pages.children}.items():
        root.putChild(name, page)
    return WebSide(section, root, reactor, (streams, keys))


class Nodes(Page):
    """``/nodes``: all nodes of one process, each with its pages; takes orders for all and for each."""

    def __init__(self, testnet: ITestnet) -> None:
        super().__init__()
        self._testnet = testnet
        self._pages: dict[str, Page] = {}
        self.render_POST = Orders({"add": testnet.add_one}).render_POST

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Find the pages of one node."""
        address = path.decode("latin-1")
        shown = self._testnet.shown().get(address)
        if shown is None:
            self._pages.pop(address, None)
            return super().getChild(path, request)
        pages = self._pages.get(address)
        if pages is None:
            pages = self._pages[address] = pages_of(*shown)
            does, testnet = {}, self._testnet
            for verb, do in (
                ("kill", testnet.kill),
                ("leave", testnet.let_leave),
                ("pause", testnet.pause),
                ("resume", testnet.resume),
            ):
                does[verb] = partial(do, address)
            pages.putChild(b"", Orders(does))
        return cast(IResource, pages)


class ITestnet(Protocol):
    """Nodes of one process, as their common page needs them."""

    def shown(self) -> Mapping[str, tuple[NodeView, Measured]]:
        """Find what each node shows, by its address."""

    def add_one(self) -> str:
        """Add a node; say where. @raise Refused: there is no room."""

    def kill(self, address: str) -> str:
        """Kill a node; say so. @raise Refused: it is the last."""

    def let_leave(self, address: str) -> str:
        """Let a node leave; say so. @raise Refused: it is the last."""

    def pause(self, address: str) -> str:
        """Freeze a node; say so. @raise Refused: it does not run."""

    def resume(self, address: str) -> str:
        """Let a frozen node go on; say so. @raise Refused: it is not frozen."""

    def paused(self) -> Collection[str]:
        """Find the addresses of the frozen nodes."""


def web_of_testnet(address: Address, testnet: ITestnet, reactor: Any) -> WebSide:
    """Make the page that shows all nodes of one process, on loopback."""
    telling: list[Tell | None] = [None]

    def picture() -> dict[str, object]:
        views = [view for view, _ in testnet.shown().values()]
        for view in views:
            view.watch(telling[0])  # a node may be new
        paused = testnet.paused()
        return {
            "network": "testnet",
            "control": True,
            "members": sum(view.is_member and view.address not in paused for view in views),
            "nodes": [{**view.itself(), "paused": view.address in paused} for view in views],
        }

    def watch(tell: Tell | None) -> None:
        telling[0] = tell
        for view, _ in testnet.shown().values():
            view.watch(tell)

    def facts() -> Iterator[tuple[str, str]]:
        for view, _ in testnet.shown().values():
            yield view.address, f"{'member' if view.is_member else 'in no ring'}, {view.itself()['records']} records"

    def unready() -> list[str]:
        paused = testnet.paused()
        reasons = [
            f"{address}: {reason}"
            for address, (_, measured) in testnet.shown().items()
            for reason in (["paused"] if address in paused else measured.unready())
        ]
        return reasons[:UNREADY_SHOWN_MAX]

    streams = Streams(reactor, picture, watch)
    root = Front(facts)
    for name, page in (
        (b"nodes", Nodes(testnet)),
        (b"events", streams),
        (b"healthz", Alive()),
        (b"readyz", Ready(unready)),
    ):
        root.putChild(name, page)
    return WebSide(WebSection(address=address), root, reactor, (streams,))


def facts_of(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Say in a few lines how a node is, for those whose browser runs no scripts."""
    yield "Health", str(status["health"])
    yield "Node", f"{status['address']}, {str(status['id'])[:16]}"
    yield "Network", str(status["network"])
    yield "Member of the ring", "yes" if status["member"] else "no"
    yield "Members, estimated", str(status["members_estimate"])
    yield "Predecessor", str(status["predecessor"] or "none")
    yield "Successors", ", ".join(status["successors"]) or "none"
    yield "Records", f"{status['records']}, {status['bytes']} bytes"
    yield "Links", str(status["links"]["open"])


class WebSide:
    """The web side of one node.

    @ivar factory: what its port is given. @ivar site: the same, without TLS. @ivar contexts: of TLS; None without.
    """

    def __init__(self, section: WebSection, root: Any, reactor: Any, streams: Iterable[Streams | Keys] = ()) -> None:
        """@param root: the resource of ``/``. @raise ValueError: what is configured does not serve; says which file."""
        scheme = b"http" if section.certificate is None else b"https"
        names = section.names if section.address is None else (*section.names, section.address.host)
        self._guard = Guard(scheme, names, _token(section))
        self._streams = tuple(streams)
        self.site = WebSite(root, self._guard, reactor)
        self.factory = cast(IProtocolFactory, self.site)
        self.contexts: _WebTls | None = None
        if section.certificate is not None:
            self.contexts = _WebTls(_context(section))
            self.factory = TLSMemoryBIOFactory(self.contexts, False, self.site, reactor)

    def close(self) -> None:
        """End every connection; nobody listens any more."""
        for streams in self._streams:
            streams.stop()
        self.site.close()

    def renewed(self, section: WebSection) -> WebRenewal:
        """Read anew what the files of `section` hold; may take as long as a disk does.

        @raise ValueError: a file does not serve; says which.
        """
        return WebRenewal(None if self.contexts is None else _context(section), _token(section))

    def take(self, renewal: WebRenewal) -> None:
        """Use what `renewed` has read, for connections and requests from now on."""
        if self.contexts is not None and renewal.context is not None:
            self.contexts.context = renewal.context
        self._guard.token = renewal.token


class WebRenewal:
    """What the files of the web side hold now."""

    def __init__(self, context: SSL.Context | None, token: bytes | None) -> None:
        self.context = context
        self.token = token


@implementer(IOpenSSLContextFactory)
class _WebTls:
    def __init__(self, context: SSL.Context) -> None:
        self.context = context

    def getContext(self) -> SSL.Context:
        return self.context


def _context(section: WebSection) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    for path, use in (
        (section.certificate, context.use_certificate_chain_file),
        (section.key, context.use_privatekey_file),
    ):
        try:
            with open(str(path), "rb"):
                pass  # OpenSSL has no words for a file that is not there
            use(str(path))
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
        except SSL.Error:
            raise ValueError(f"{path}: does not serve: PEM of a certificate and of its own key are needed") from None
    return context


def _token(section: WebSection) -> bytes | None:
    if section.token is None:
        return None
    try:
        token = section.token.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"{section.token}: cannot be read: {error.strerror}") from None
    if len(token) < TOKEN_BYTES_MIN or not token.isascii() or len(token.split()) != 1:
        raise ValueError(f"{section.token}: needs one word of ASCII, of {TOKEN_BYTES_MIN} bytes or more")
    return token
