"""Server-sent events: what the page is told while it is open; bounded, however many look on, and however slowly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from chordtwist.net.web.answers import Page, json_text, show_problem

STREAMS_MAX = 128
"""Pages open at once, of all the connections that are taken."""

EVERY_S = 1.0
"""A picture of the ring so often, when it has changed: made once for all who look on."""

SAY_NOTHING_AFTER_S = 15.0
"""A line that says nothing after so long: so that both ends notice when the other is gone."""

UNREAD_S = 30.0
"""Who has not read what was written for so long is let go."""

MOMENTS_PER_S = 20
"""Lookups shown in one second; a busy node makes thousands."""

Tell = Callable[[dict[str, object]], None]


@implementer(IPushProducer)
class Stream:
    """One page that looks on. It is written to only while it reads."""

    def __init__(self, request: Any, now_s: float) -> None:
        self.request = request
        self.paused_at: float | None = None
        self.written_at = now_s
        self._clock_s = now_s
        self.behind = False

    def write(self, text: bytes, now_s: float) -> None:
        """Write, or leave it out for one that does not read."""
        self._clock_s = now_s
        if self.paused_at is None:
            self.written_at = now_s
            self.request.write(text)
        else:
            self.behind = True

    def tend(self, shown: bytes, now_s: float, has_changed: bool = False) -> None:
        """Look after it now and then: write what is shown now where that has changed, or was left out before; say
        nothing after a long silence; let go whoever has not read for too long.
        """
        if self.paused_at is not None and now_s - self.paused_at >= UNREAD_S:
            self.request.channel.transport.abortConnection()
        elif has_changed or self.behind:
            self.behind = False
            self.write(shown, now_s)
        elif now_s - self.written_at >= SAY_NOTHING_AFTER_S:
            self.write(b":\n\n", now_s)

    def pauseProducing(self) -> None:
        """Hear that what was written waits to be read."""
        self.paused_at = self._clock_s

    def resumeProducing(self) -> None:
        """Hear that it has been read."""
        self.paused_at = None

    def stopProducing(self) -> None:
        """Hear that nobody reads any more."""


class Streams(Page):
    """``/events``: pictures of the ring as ``ring``, and lookups as ``lookup`` while they happen."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        picture: Callable[[], dict[str, object]],
        watch: Callable[[Tell | None], None],
    ) -> None:
        """@param picture: makes the present picture. @param watch: is given whom to tell of lookups from now on; None
        when nobody looks on any more.
        """
        super().__init__()
        self._clock = clock
        self._picture = picture
        self._watch = watch
        self._streams: dict[Stream, None] = {}
        self._shown = b""
        self._moments = 0
        self._next: IDelayedCall | None = None

    def __len__(self) -> int:
        """How many look on."""
        return len(self._streams)

    def render_GET(self, request: Request) -> None:
        """Begin to tell."""
        if len(self._streams) >= STREAMS_MAX:
            show_problem(request, 503, f"{STREAMS_MAX} pages look on already")
            return
        request.setHeader(b"content-type", b"text/event-stream")
        now_s = self._clock.seconds()
        stream = Stream(request, now_s)
        request.registerProducer(stream, True)
        request.notifyFinish().addBoth(self._gone, stream)
        self._streams[stream] = None
        if self._next is None:
            self._watch(self._moment)
            self._shown = self._present()
            self._next = self._clock.callLater(EVERY_S, self._beat)
        stream.write(b"retry: 2000\n\n" + self._shown, now_s)

    def stop(self) -> None:
        """Tell no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            self._watch(None)

    def _present(self) -> bytes:
        return b"event: ring\ndata: " + json_text(self._picture()) + b"\n"

    def _beat(self) -> None:
        self._next = self._clock.callLater(EVERY_S, self._beat)
        self._moments = 0
        now_s = self._clock.seconds()
        try:
            present = self._present()
        except Exception:
            self._log.failure("the ring cannot be shown")
            return
        has_changed, self._shown = present != self._shown, present
        for stream in list(self._streams):
            stream.tend(present, now_s, has_changed)

    def _moment(self, moment: dict[str, object]) -> None:
        self._moments += 1
        if self._moments <= MOMENTS_PER_S:
            text = b"event: lookup\ndata: " + json_text(moment) + b"\n"
            for stream in self._streams:
                if stream.paused_at is None:
                    stream.write(text, self._clock.seconds())

    def _gone(self, result: object, stream: Stream) -> None:
        del self._streams[stream]
        if not self._streams:
            self.stop()
