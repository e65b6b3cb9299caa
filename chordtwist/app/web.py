"""The web side of a node as its configuration has it: what is shown where, to whom, over which transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from chordtwist import __version__
from chordtwist.app.config import WebSection
from chordtwist.core.histogram import Histogram
from chordtwist.net.web.answers import Page
from chordtwist.net.web.guard import Guard
from chordtwist.net.web.pages import Alive, Ready, State
from chordtwist.net.web.site import WebSite
from chordtwist.node.interfaces import IDht

TOKEN_BYTES_MIN = 16
"""Shorter ones are found by trying."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What the web side shows of a node besides its status.

    @ivar unready: says why nobody should be sent to it. @ivar lookups: hops, questions and seconds of its lookups.
    @ivar answers: seconds that it took to answer, by kind of question.
    """

    unready: Callable[[], list[str]]
    lookups: Callable[[], Mapping[str, Histogram]]
    answers: Mapping[str, Histogram]


def web_of_node(section: WebSection, dht: IDht, measured: Measured, reactor: Any) -> WebSide:
    """Make the web side of one node. @raise ValueError: as `WebSide`."""
    # Here, since it takes as long to load as a tenth of all that a command loads.
    from chordtwist.net.web.metrics import Metrics, MetricsPage

    root = Page()
    root.putChild(b"healthz", Alive())
    root.putChild(b"readyz", Ready(measured.unready))
    root.putChild(b"status.json", State(dht.status))
    root.putChild(b"metrics", MetricsPage(Metrics(dht.status, measured.lookups, measured.answers, __version__)))
    return WebSide(section, root, reactor)


class WebSide:
    """The web side of one node.

    @ivar factory: what its port is given. @ivar site: the same, without TLS. @ivar contexts: of TLS; None without.
    """

    def __init__(self, section: WebSection, root: Any, reactor: Any) -> None:
        """@param root: the resource of ``/``. @raise ValueError: what is configured does not serve; says which file."""
        scheme = b"http" if section.certificate is None else b"https"
        names = section.names if section.address is None else (*section.names, section.address.host)
        self._guard = Guard(scheme, names, _token(section))
        self.site = WebSite(root, self._guard, reactor)
        self.factory = cast(IProtocolFactory, self.site)
        self.contexts: _WebTls | None = None
        if section.certificate is not None:
            self.contexts = _WebTls(_context(section))
            self.factory = TLSMemoryBIOFactory(self.contexts, False, self.site, reactor)

    def close(self) -> None:
        """End every connection; nobody listens any more."""
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
