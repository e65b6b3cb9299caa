"""What people's tools ask of a node over its API (OPERATE): each request typed and checked, each answer lines of JSON.

What shows the ring, a record or a way is answered to everybody who reaches the API, as a GET is. What lists or changes
what a node keeps, or tells of its process, is answered to the operator only: over the Unix socket, or with the token
that stands in a file of the state directory which nobody else may read.
"""

from __future__ import annotations

import platform
import secrets
import ssl
from base64 import b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any

import msgspec
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from chordtwist import __version__
from chordtwist.app.evidence_file import as_json
from chordtwist.app.log_tail import LogTail
from chordtwist.core.address import Address
from chordtwist.core.errors import ChordtwistError, ConfigurationError, Malformed, Refused, Unreachable
from chordtwist.core.events import Event
from chordtwist.core.peer import Peer
from chordtwist.core.printable import printable
from chordtwist.core.records import KEY_BYTES, Record, version_text
from chordtwist.core.ring import Arc
from chordtwist.net.operating import Tell
from chordtwist.node.inspection import PINGS_MAX
from chordtwist.node.node import Node
from chordtwist.node.records.backup import BACKUP_FORMAT, body_from, line_of
from chordtwist.node.records.restoring import NEWER, RESTORED
from chordtwist.wire.peer_messages import RecordBody
from twisted import __version__ as twisted_version

EXPORTED_PER_TURN = 16
"""Records of a backup read and written before others get the reactor: 3 ms where all are of the longest value."""

PEERS_PINGED_MAX = 64
ALIVE_EVERY_S = 10.0
"""Whoever follows is told so often that there is somebody to follow, also while nothing happens."""

FOLLOWED_EVERY_S = 0.25
"""How soon whoever follows is told what happened."""

WHOLE_CIRCLE = Arc(0, 0)

Key = Annotated[str, msgspec.Meta(min_length=2 * KEY_BYTES, max_length=2 * KEY_BYTES, pattern="^[0-9a-f]*$")]


class Request(msgspec.Struct, tag_field="do", forbid_unknown_fields=True, frozen=True):
    """One request; `token` is the operator's, where it needs one."""

    token: str = ""


class Ring(Request, tag="ring", frozen=True):
    """Walk the ring: `Inspection.ring`."""


class Estimate(Request, tag="estimate", frozen=True):
    """Estimate the ring's size: `Inspection.estimate`."""


class Inspect(Request, tag="inspect", frozen=True, kw_only=True):
    """Look at every replica of a key: `Inspection.inspect`."""

    key: Key


class Trace(Request, tag="trace", frozen=True, kw_only=True):
    """Follow one search: `Inspection.trace`."""

    key: Key


class Proofs(Request, tag="evidence", frozen=True):
    """Show the proofs against those whom the node convicts, as `app.evidence_file` writes them, a line each."""


class Read(Request, tag="read", frozen=True, kw_only=True):
    """Get a record with all that belongs to it; without its value where its version is `known`, as it was told."""

    key: Key
    known: str = ""


class PingPeers(Request, tag="ping", frozen=True, kw_only=True):
    """Measure the way to peers: `Inspection.ping`; without `peers` to all neighbours and fingers."""

    peers: Annotated[list[str], msgspec.Meta(max_length=PEERS_PINGED_MAX)] | None = None
    times: Annotated[int, msgspec.Meta(ge=1, le=PINGS_MAX)] = 5


class Export(Request, tag="export", frozen=True, kw_only=True):
    """List the records that the node keeps, with `own` those of its own arc, as `node.records.backup` writes them."""

    own: bool = False


class Import(Request, tag="import", frozen=True, kw_only=True):
    """Bring records of a backup to their replicas, where nothing newer stands."""

    records: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=256)]


class Follow(Request, tag="events", frozen=True, kw_only=True):
    """Tell what happened to the node; with `follow` also what happens from now on, with `log` the lines of its log."""

    follow: bool = False
    log: str = ""


class Reload(Request, tag="reload", frozen=True):
    """Read the configuration again."""


class Bundle(Request, tag="bundle", frozen=True):
    """Tell what helps others to help: versions and the configuration without its secrets."""


OPEN = Ring | Estimate | Inspect | Trace | Proofs | Read | PingPeers
_Any = OPEN | Export | Import | Follow | Reload | Bundle
_DECODER = msgspec.json.Decoder(_Any)


class Operations:
    """Carries the requests out, for one node."""

    def __init__(
        self,
        node: Node,
        clock: IReactorTime,
        wall_ms: Callable[[], int],
        token: str,
        token_file: str,
        config: Mapping[str, Mapping[str, str]],
    ) -> None:
        """@param token: the operator's, empty where there is no place to keep one. @param token_file: where it stands.
        @param config: every option in force by section, without secrets.
        """
        self.reload: Callable[[], Deferred[dict[str, object]]] | None = None
        """Reads the configuration again; None where there is none to read."""
        self._node = node
        self._clock = clock
        self._wall_ms = wall_ms
        self._token = token
        self._token_file = token_file
        self._config = config
        self._does: dict[type, Callable[[Any, Tell], Coroutine[Any, Any, None]]] = {
            Ring: lambda request, tell: self._tell(tell, node.inspection.ring()),
            Estimate: self._estimate,
            Inspect: lambda request, tell: self._tell(tell, node.inspection.inspect(bytes.fromhex(request.key))),
            Trace: lambda request, tell: self._tell(tell, node.inspection.trace(bytes.fromhex(request.key))),
            Proofs: self._proofs,
            Read: self._read,
            PingPeers: self._ping,
            Export: self._export,
            Import: self._import,
            Follow: self._follow,
            Reload: self._reload,
            Bundle: self._bundle,
        }

    def __call__(self, text: bytes, is_operators: bool, tell: Tell) -> Deferred[None]:
        """Carry out a request, as `net.operating.CarryOut`. What cannot be done is told: a line whose `error` has
        `kind` (``bad request``, ``refused``, ``unreachable``) and `reason`.
        """
        return Deferred.fromCoroutine(self._carry_out(text, is_operators, tell))

    async def _carry_out(self, text: bytes, is_operators: bool, tell: Tell) -> None:
        try:
            request = _DECODER.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            await tell(_error("bad request", str(error)))
            return
        if not isinstance(request, OPEN) and not (is_operators or self._has_token(request)):
            await tell(self._for_operators(bool(request.token)))
            return
        try:
            await self._does[type(request)](request, tell)
        except Unreachable as error:
            await tell(_error("unreachable", str(error)))
        except (ChordtwistError, ConfigurationError) as error:
            await tell(_error("refused", str(error)))

    def _has_token(self, request: Request) -> bool:
        return bool(self._token) and secrets.compare_digest(request.token.encode(), self._token.encode())

    def _for_operators(self, has_one: bool) -> bytes:
        if not self._token:
            reason = "this is for the operator: it needs a Unix socket (api_address = unix:PATH), or a state_dir"
        elif has_one:
            reason = f"that is not the token in {self._token_file}"
        else:
            reason = f"this is for the operator: over a Unix socket, or with the token in {self._token_file}"
        return _line({"error": {"kind": "refused", "reason": reason, "token_file": self._token_file}})

    async def _tell(self, tell: Tell, shown: Awaitable[object]) -> None:
        await tell(_line(await shown))

    # For everybody

    async def _estimate(self, request: Estimate, tell: Tell) -> None:
        await tell(_line(self._node.inspection.estimate()))

    async def _proofs(self, request: Proofs, tell: Tell) -> None:
        node = self._node
        for conviction in list(node.judgement.convictions):
            await tell(_line(as_json(node.identity, conviction)))

    async def _read(self, request: Read, tell: Tell) -> None:
        record = await self._node.get(bytes.fromhex(request.key))
        await tell(_line(self._shown(request, record)))

    def _shown(self, request: Read, record: Record | None) -> dict[str, object]:
        if record is None:
            return {"key": request.key, "found": False}
        version = version_text(record.version)
        shown: dict[str, object] = {
            "key": request.key,
            "found": True,
            "version": version,
            "ttl_ms": record.expiry_ms - self._node.records.local_records.now_ms(),
            "kind": record.kind.name.lower(),
            "copies": record.copies,
            "bytes": record.value_bytes,
        }
        if record.seal is not None:
            seal = record.seal
            shown |= {"seq": seal.seq, "public_key": seal.public_key.hex()}
            shown |= {"salt": seal.salt.hex(), "signature": seal.signature.hex()}
        if version != request.known:
            shown["value_base64"] = b64encode(record.value).decode()
        return shown

    async def _ping(self, request: PingPeers, tell: Tell) -> None:
        peers = None
        if request.peers is not None:
            peers = [self._peer(address) for address in request.peers]
        for row in await self._node.inspection.ping(peers, request.times):
            await tell(_line(row))

    def _peer(self, address: str) -> Peer:
        try:
            parsed = Address.parse(address)
            peer = self._node.identity.peer(parsed.host, parsed.port)
        except ValueError as error:
            raise Refused(f"{address}: {error}") from None
        if not self._node.inspection.knows(peer):
            # Whoever reaches the API would else make this node dial whom he likes.
            raise Refused(f"{address}: this node has never met it, and dials nobody for others")
        return peer

    # For the operator

    async def _export(self, request: Export, tell: Tell) -> None:
        node, local = self._node, self._node.records.local_records
        arc = WHOLE_CIRCLE
        if request.own and node.predecessor is not None:
            arc = Arc(node.predecessor.id, node.me.id)
        await tell(
            _line(
                {
                    "backup": BACKUP_FORMAT,
                    "network": node.identity.network,
                    "node": str(node.me),
                    "at_ms": self._wall_ms(),
                    "own": request.own,
                }
            )
        )
        told = 0
        for looked, entry in enumerate(local.store.scan(arc), 1):
            kept = local.get(entry.key)
            if kept is not None:
                told += 1
                await tell(_line(line_of(kept, local.now_ms(), self._wall_ms())))
            if looked % EXPORTED_PER_TURN == 0:
                await deferLater(self._clock, 0)
        await tell(_line({"records": told}))

    async def _import(self, request: Import, tell: Tell) -> None:
        if not self._node.is_member:
            raise Unreachable(None, "this node is in no ring yet")
        under_way: list[Deferred[tuple[str, str]]] = []
        ended = 0
        for number, line in enumerate(request.records, 1):
            key = str(line.get("key", ""))[: 2 * KEY_BYTES]
            try:
                body = body_from(line, max(0, self._node.neighbours_time_ms()))
            except Malformed as error:
                under_way.append(succeed((key, str(error))))
                continue
            if body is None:
                ended += 1
            else:
                under_way.append(Deferred.fromCoroutine(self._restored(key, body)))
            if number % EXPORTED_PER_TURN == 0:
                await deferLater(self._clock, 0)
        outcomes = await gatherResults(under_way)
        words = Counter(outcome for _, outcome in outcomes)
        await tell(
            _line(
                {
                    "restored": words[RESTORED],
                    "newer": words[NEWER],
                    "ended": ended,
                    "refused": [
                        {"key": key, "reason": outcome} for key, outcome in outcomes if outcome not in (RESTORED, NEWER)
                    ],
                }
            )
        )

    async def _restored(self, key: str, body: RecordBody) -> tuple[str, str]:
        try:
            return key, await self._node.records.restoring.restore(body)
        except Malformed as error:
            return key, str(error)

    async def _follow(self, request: Follow, tell: Tell) -> None:
        lines = LogTail(request.log) if request.log else None
        alive_s = self._clock.seconds()
        try:
            told: Event | None = None
            while True:
                if self._clock.seconds() - alive_s >= ALIVE_EVERY_S:
                    alive_s = self._clock.seconds()
                    await tell(_line({"alive": True}))
                for event in _behind(list(self._node.events), told):
                    told = event
                    await tell(_line({"at_ms": event.at_ms, "text": event.text}))
                for line in () if lines is None else lines.taken():
                    await tell(_line(line))
                if not request.follow:
                    return
                await deferLater(self._clock, FOLLOWED_EVERY_S)
        finally:
            if lines is not None:
                lines.end()

    async def _reload(self, request: Reload, tell: Tell) -> None:
        if self.reload is None:
            raise Refused("this node was started without a configuration file: there is nothing to read again")
        await self._tell(tell, self.reload())

    async def _bundle(self, request: Bundle, tell: Tell) -> None:
        await tell(
            _line(
                {
                    "versions": {
                        "chordtwist": __version__,
                        "python": platform.python_version(),
                        "twisted": twisted_version,
                        "openssl": ssl.OPENSSL_VERSION,
                        "msgspec": msgspec.__version__,
                        "system": platform.platform(),
                    },
                    "configuration": self._config,
                }
            )
        )


def _behind(events: list[Event], told: Event | None) -> list[Event]:
    # What came after the event that was told last; all of them where that one is forgotten already.
    for index in range(len(events) - 1, -1, -1):
        if events[index] is told:
            return events[index + 1 :]
    return events if told is None else [event for event in events if event.at_ms >= told.at_ms]


def _line(shown: object) -> bytes:
    return msgspec.json.encode(shown)


def _error(kind: str, reason: str) -> bytes:
    return _line({"error": {"kind": kind, "reason": printable(reason)}})
