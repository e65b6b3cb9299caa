"""The port of the web side: the bounds on its connections and requests, and what every answer says to browsers."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from chordtwist.net.web.answers import failed, show_problem
from chordtwist.net.web.guard import Guard

WEB_CONNECTIONS_MAX = 320
"""Of browsers, scrapers and programs at once, each with a descriptor; a browser takes up to six. It is more than
all who may look on for long, so that a probe finds room beside them.
"""

REQUEST_WITHIN_S = 60.0
"""From the end of an answer, or the beginning of a connection, to the end of the next request, however it trickles."""

REQUEST_BYTES_MAX = 65_536
"""Of a request: the longest value, and some words."""

HEADERS = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
    b"referrer-policy": b"no-referrer",
    b"server": b"chordtwist",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}
"""Of every answer; a page that browsers show widens the first."""


class WebRequest(Request):
    """A request that is looked at before it is served."""

    channel: WebChannel
    content: BytesIO

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, also where Twisted would open a file: it is short."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, up to `REQUEST_BYTES_MAX` in all."""
        if self.content.tell() + len(data) > REQUEST_BYTES_MAX:
            self.channel.refuse_body()
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Serve it, or say why not."""
        if self.channel.has_refused:
            return
        self.channel.is_serving = True
        site = self.site = self.channel.site
        self._say_what_all_say()
        headers = self.requestHeaders
        objection = site.guard.objection(self.method, lambda name: headers.getRawHeaders(name, []))
        if objection is None:
            super().process()
            return
        if objection.status == 401:
            challenges = [b'Bearer realm="chordtwist"', b'Basic realm="chordtwist", charset="UTF-8"']
            self.responseHeaders.setRawHeaders(b"www-authenticate", challenges)
        show_problem(self, objection.status, objection.detail)

    def render(self, resrc: IResource) -> None:
        """Let a page answer; Twisted has put headers of its own by now."""
        self._say_what_all_say()
        resrc.render(self)

    def _say_what_all_say(self) -> None:
        for name, value in HEADERS.items():
            self.setHeader(name, value)

    def processingFailed(self, reason: Failure) -> Failure:
        """Answer that it is our fault, without a traceback."""
        failed(reason, self)
        return reason


class WebChannel(HTTPChannel):
    """A connection whose requests have an end: in bytes, and in time."""

    site: WebSite
    transport: Any

    has_refused = False
    _has_begun = False
    is_serving = False
    """Whether a request has come whole and is not answered yet."""

    def dataReceived(self, data: bytes) -> None:
        """Take what came. Twisted gives a request more time with each piece of it; here it has its time once. What
        begins as no request does, but as those of the API, is ended at once: its clients know what that means.
        """
        if not self._has_begun and data[:1] < b" " and data[:1] not in b"\r\n":
            self.transport.abortConnection()
            self.has_refused = True
        self._has_begun = True
        if not self.has_refused:
            LineReceiver.dataReceived(self, data)

    def allHeadersReceived(self) -> None:
        """Take the headers; a body that will be too long is not waited for."""
        super().allHeadersReceived()
        if self.length is not None and self.length > REQUEST_BYTES_MAX:
            self.refuse_body()

    def requestDone(self, request: Request) -> None:
        """Have answered. Whoever sent more before the answer is not served further, which no browser does: thousands of
        requests in one piece would keep the node from all else, and have answers written that nobody reads.
        """
        self.is_serving = False
        if self.clearLineBuffer():
            self.persistent = False
        super().requestDone(request)
        # Also where the connection ends with this answer: it may never be read.
        self.setTimeout(REQUEST_WITHIN_S)
        self.site.wait(self)

    def setLineMode(self, extra: bytes = b"") -> None:
        """Wait for the next request; what came while the last one was answered is more than that, likewise."""
        if extra:
            self.persistent = False
            self.loseConnection()
        else:
            super().setLineMode()

    def refuse_body(self) -> None:
        """End the connection: what comes is too long."""
        if not self.has_refused:
            self.has_refused = True
            said = b"the body is longer than %d bytes" % REQUEST_BYTES_MAX
            problem = b'{"type":"about:blank","title":"Content Too Large","status":413,"detail":"%b"}\n' % said
            self.transport.write(
                b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/problem+json\r\n"
                b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(problem), problem)
            )
            self.loseConnection()

    def timeoutConnection(self) -> None:
        """End the connection of a client that takes too long: it costs that client its request, and us no line."""
        self.transport.abortConnection()

    def connectionMade(self) -> None:
        """Count the connection."""
        super().connectionMade()
        self.site.channels[self] = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection."""
        self.site.channels.pop(self, None)
        super().connectionLost(reason)


class WebSite(Site):
    """The factory of the web side's connections.

    @ivar guard: judges every request.
    """

    noisy = False
    protocol = WebChannel  # type: ignore[assignment]

    def __init__(self, root: IResource, guard: Guard, reactor: Any) -> None:
        super().__init__(root, WebRequest, timeout=REQUEST_WITHIN_S, reactor=reactor)
        self.guard = guard
        self.channels: dict[WebChannel, None] = {}  # whoever waits longest stands first

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Make one more connection. Beyond the bound the one ends for it that has waited longest without a request;
        where all are being served none is made: then Twisted closes it at once.
        """
        if len(self.channels) >= WEB_CONNECTIONS_MAX:
            waiting = next((channel for channel in self.channels if not channel.is_serving), None)
            if waiting is None:
                return None
            del self.channels[waiting]
            waiting.transport.abortConnection()
        return super().buildProtocol(addr)

    def wait(self, channel: WebChannel) -> None:
        """Hear that a connection waits for its next request, from now on."""
        if channel in self.channels:
            del self.channels[channel]
            self.channels[channel] = None

    def startFactory(self) -> None:
        """Keep no time for lines that nobody writes."""

    def stopFactory(self) -> None:
        """Have nothing to end, likewise."""

    def log(self, request: Any) -> None:
        """Write no line for each request."""

    def close(self) -> None:
        """End every connection at once: to be called when nobody listens any more."""
        for channel in list(self.channels):
            channel.transport.abortConnection()
