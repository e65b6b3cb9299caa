"""What an operator decides about a node: every option with its unit, default and reason, and which do not go together.

The sentence beside an option is what `etc/node.ini` says above it, word for word; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from chordtwist.app import values
from chordtwist.core.address import PORT_MAX, SOCKET_MODE, Address, ApiAddress
from chordtwist.core.parameters import SUCCESSORS_MAX
from chordtwist.core.peer import Policy, canonical_ip
from chordtwist.core.puzzles import BITS_MAX

T = TypeVar("T")

SUCCESSORS_MIN = 8
"""The shortest successor list that a file may ask for: below it two neighbours that die together are a danger."""


STORE_DURATION_MOST_S = 31_536_000
"""A year: the longest life that a file may grant to values."""

API_PORT_ABOVE = 1000
"""The habitual ports are 6401 for nodes and 7401 for the API."""

_API_ADDRESS = Address("127.0.0.1", 7401)


class TlsMode(Enum):
    """Who may be a peer, and how the links are kept private."""

    OPEN = "open"
    CLOSED = "closed"
    OFF = "off"


class LogFormat(Enum):
    """The shape of a log line."""

    TEXT = "text"
    JSON = "json"


class Level(Enum):
    """The least serious event that is shown."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Reading:
    """How one option is read from a file: `sentence` is its documentation, `aliases` its other names."""

    read: Callable[[str, Path], object]
    sentence: str
    aliases: tuple[str, ...] = ()


def _option(default: T, read: Callable[[str, Path], T], sentence: str, *aliases: str) -> T:
    # Returns a dataclass field under the type of its values, so that the classes below read, and check, like values.
    spec: Any = field(default=default, metadata={"reading": Reading(read, sentence, aliases)})
    return spec  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class DhtSection:
    """`[dht]`: the node itself."""

    api_address: ApiAddress | None = _option(
        None,
        values.api_address,
        "Where local programs reach the DHT: host:port or unix:PATH. Default 127.0.0.1:7401, the course's habitual"
        " port, on loopback since whoever reaches the API may read, write and shut the node down; where p2p_address is"
        " loopback, its host, and the port 1000 above its own, so that each of several nodes on one machine has one.",
    )
    api_socket_mode: int = _option(
        SOCKET_MODE,
        values.socket_mode,
        "Rights of the socket where api_address is unix:PATH: three octal digits, as chmod takes them. Default 660: who"
        " may write to it may use the API, and that is the node's user and group.",
    )
    api_beyond_loopback: bool = _option(
        False,
        values.yes_or_no,
        "yes or no: whether api_address may be other than loopback or a Unix socket. Default no: opening the API to a"
        " network is never an accident.",
    )
    shutdown_beyond_loopback: bool = _option(
        False,
        values.yes_or_no,
        "yes or no: whether a client that is not on this machine may send SHUTDOWN. Default no: to end a node is for"
        " its operator, also where others may use its API.",
    )
    p2p_address: Address = _option(
        Address("127.0.0.1", 6401),
        values.address,
        "Where this node listens for other nodes and what it dials them from: host:port, IPv6 in brackets. Default"
        " 127.0.0.1:6401, the course's habitual port. A wildcard (0.0.0.0 or [::]) needs public_address as well. Also"
        " read as listen_address.",
        "listen_address",
    )
    public_address: Address | None = _option(
        None,
        values.some_address,
        "What other nodes dial, where it is not p2p_address: IP:port. The node's place on the ring follows from it."
        " Default: p2p_address.",
    )
    bootstrap_node: tuple[Address, ...] = _option(
        (),
        values.addresses,
        "Nodes of the ring to join: host:port, several with commas between; names are resolved again at each try."
        " Also read as bootstrapper, bootstrap_address or bootstrap."
        " Default empty: this node is the first of its ring. A node that finds its own address at the head of the list"
        " becomes the first when no other listed node answers.",
        "bootstrapper",
        "bootstrap_address",
        "bootstrap",
    )
    identity: Policy | None = _option(
        None,
        values.one_of_or_none({"ip": Policy.IP, "address": Policy.ADDRESS}),
        "ip or address: what gives a node its place, its IP address alone or address and port. The same at all nodes of"
        " a network. Default: by the address that others dial, address where it is loopback, so that several nodes on"
        " one machine need ports of their own only, and ip elsewhere: one place per address, since with address"
        " whoever owns one owns 65,535 places.",
    )
    network: str = _option(
        "chordtwist",
        values.text,
        "The name of the network, 1 to 255 bytes: nodes of different names refuse one another, so a test ring never"
        " merges with the real one. Default chordtwist.",
    )
    default_store_duration: int = _option(
        3600,
        values.whole_seconds(1, STORE_DURATION_MOST_S),
        "How long a value lives when its PUT says 0: seconds, or with a unit, as 1h. Default 3600: an hour outlives any"
        " failure that repair mends, and what nobody asks for again does not stay.",
    )
    max_store_duration: int = _option(
        86400,
        values.whole_seconds(1, STORE_DURATION_MOST_S),
        "How long a value lives at most: seconds, or with a unit, as 1d; a longer life asked for is cut to this."
        " Default 86400: a day bounds what a stranger can make this node keep.",
    )
    replication: int = _option(
        4,
        values.number(1, 255),
        "Copies of a value, when its PUT says 0; at most as many as successors. The same at all nodes of a network."
        " Default 4: a majority survives one death, a reader survives three.",
    )
    successors: int = _option(
        16,
        values.number(SUCCESSORS_MIN, SUCCESSORS_MAX),
        "Entries of the successor list, 8 to 126. The same at all nodes of a network. Default 16: half of all nodes"
        " may die at once in a ring of thousands (the Chord paper asks for about log2 of the ring's size).",
    )
    state_dir: Path | None = _option(
        None,
        values.path,
        "Folder for what outlives the process; relative to this file. Default empty: nothing is written to disk, and"
        " the log says so once.",
    )
    stabilize_interval: float = _option(
        1.0,
        values.seconds(0.05, 60),
        "Seconds, 0.05 to 60, between two looks at the neighbours while the ring changes; in a quiet ring five times as"
        " many. Default 1: a process that ends is noticed at once, a machine that falls silent within 15 s, for some"
        " hundred bytes per second.",
    )


@dataclass(frozen=True, slots=True)
class TlsSection:
    """`[tls]`: the links between nodes."""

    mode: TlsMode = _option(
        TlsMode.OPEN,
        values.word(TlsMode),
        "open, closed or off: links with TLS 1.3 for any node that proves its address, for nodes with a certificate of"
        " the network's authority only, or without TLS. Default open; off is for a laboratory and refuses addresses"
        " other than loopback.",
    )
    authority: Path | None = _option(
        None,
        values.path,
        "Certificate of the authority that signs the certificates of a closed network's nodes, PEM. Needed with mode ="
        " closed. Default empty.",
    )
    certificate: Path | None = _option(
        None,
        values.path,
        "This node's certificate, PEM, with its public address as its one IP subject. Default empty: a self-signed one"
        " is made.",
    )
    key: Path | None = _option(
        None,
        values.path,
        "The private key of the certificate, PEM. Default empty: hostkey where that is given, else a new key.",
    )
    revoked: Path | None = _option(
        None,
        values.path,
        "The authority's list of revoked certificates, PEM. It and the three files above are looked at again while the"
        " node runs. Default empty: none is revoked.",
    )
    secret: str = _option(
        "",
        values.secret,
        "A secret of 16 bytes or more that all nodes of a network share and prove to one another: the small alternative"
        " to an authority. Default empty: none. Needs TLS, since the proof is bound to the session.",
    )


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """`[limits]`: what strangers may cost."""

    processor_percent: int = _option(
        5,
        values.number(1, 100),
        "Percent of one processor that the questions of one address may take; five times as much where a node answers"
        " when it is dialled back. Processor time is measured, and who has taken more waits. Default 5: some thousand"
        " short questions a second.",
    )
    connections_per_second: int = _option(
        10,
        values.number(1, 1_000_000),
        "Connections of other nodes taken per second from each address; five seconds' worth may come at once. Default"
        " 10: a TLS handshake costs 2 ms, so that is a fiftieth of a processor.",
    )
    nodes_per_address: int = _option(
        64,
        values.number(1, 1024),
        "With identity = address, the nodes that one address has room for: two connections for each may come at once,"
        " and stay, beyond what one node may have. Default 64: more than anybody starts on one machine by hand.",
    )
    puzzle_bits: int = _option(
        0,
        values.number(0, BITS_MAX),
        "0 to 22: bits of the puzzle that a node which this one has not dialled solves before it may join or store,"
        " while all such nodes together cost more than processor_percent. Each bit doubles the work; 20 are half a"
        " second of a processor. Default 0: none, since it holds up honest newcomers too.",
    )
    stored_mib: int = _option(
        1024,
        values.number(1, 1_048_576),
        "MiB of values this node keeps; beyond it what is new is refused. Default 1024: what a small host can spare."
        " Without state_dir they are in memory.",
    )
    stored_records: int = _option(
        1_000_000,
        values.number(1, 1_000_000_000),
        "Records this node keeps, however short. Default 1000000: each costs 900 bytes of memory besides its value.",
    )
    stored_percent_per_address: int = _option(
        50,
        values.number(1, 100),
        "Of both, the percent that one address may have delivered; an eighth of it when that is no neighbour on the"
        " ring. Default 50: a neighbour that repairs this node delivers much, a stranger fills nothing.",
    )


@dataclass(frozen=True, slots=True)
class WatchSection:
    """`[watch]`: what becomes of nodes that contradict what they have signed."""

    evict: bool = _option(
        True,
        values.yes_or_no,
        "yes or no: whether a node that is convicted, by two statements of its own that contradict one another, is"
        " taken for dead, for an hour at first. Default yes. With no it is only shown in the log and the status.",
    )
    bytes_per_s: int = _option(
        50,
        values.number(0, 10_000),
        "Bytes per second that looking at the tables which others are shown, and asking what others keep, may cost."
        " Default 50: each of those who promised to list this node is looked at every few minutes. 0: none is.",
    )


@dataclass(frozen=True, slots=True)
class LogSection:
    """`[log]`: what is written to standard error."""

    level: Level = _option(
        Level.INFO,
        values.word(Level),
        "debug, info, warn or error: the least serious event shown. Default info: start, joining, leaving and what is"
        " refused, nothing while the network is healthy; debug adds each neighbour that is lost.",
    )
    format: LogFormat = _option(
        LogFormat.TEXT,
        values.word(LogFormat),
        "text or json: lines for people, or one JSON object per line for programs. Default text; under systemd, text"
        " lines carry the journal's priorities.",
    )


@dataclass(frozen=True, slots=True)
class WebSection:
    """`[web]`: the node over HTTP."""

    address: Address | None = _option(
        None,
        values.some_address_to_listen_on,
        "Where the node is reached over HTTP: host:port; a page, the keys, /healthz, /readyz, /metrics, /status.json."
        " Default empty: nowhere.",
    )
    beyond_loopback: bool = _option(
        False,
        values.yes_or_no,
        "yes or no: whether address may be other than loopback. Default no. With yes, certificate, key and token are"
        " needed: everything goes over TLS, to those only who show the token.",
    )
    names: tuple[str, ...] = _option(
        (),
        values.host_names,
        "Host names by which it may be asked for, with commas between. Default empty: by IP addresses, localhost and"
        " the host of address only, since a page of somebody else's can let its own name lead here.",
    )
    certificate: Path | None = _option(
        None,
        values.path,
        "Certificate for browsers, PEM, with the chain below it. Default empty: plain HTTP.",
    )
    key: Path | None = _option(
        None,
        values.path,
        "The private key of that certificate, PEM. Default empty.",
    )
    token: Path | None = _option(
        None,
        values.path,
        "File with the token that every request has to show, as Authorization: Bearer TOKEN or, in a browser, as the"
        " password: 16 bytes or more, such as openssl rand -hex 32 makes. Default empty: none is asked for.",
    )


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Everything an operator decides about one node."""

    dht: DhtSection = DhtSection()
    tls: TlsSection = TlsSection()
    limits: LimitsSection = LimitsSection()
    watch: WatchSection = WatchSection()
    web: WebSection = WebSection()
    log: LogSection = LogSection()
    hostkey: Path | None = None
    """The course's `hostkey`, PEM: it serves the certificate only. Stands before any section, in [DEFAULT] or [dht]."""

    @property
    def announced_address(self) -> Address:
        """The address that other nodes dial, from which this node's place follows."""
        return self.dht.public_address or self.dht.p2p_address

    @property
    def api_address(self) -> ApiAddress:
        """Where local programs reach this node."""
        own = self.dht.p2p_address
        if self.dht.api_address is not None:
            return self.dht.api_address
        if own.is_loopback and own.port + API_PORT_ABOVE <= PORT_MAX:
            return Address(own.host, own.port + API_PORT_ABOVE)
        return _API_ADDRESS


def policy_at(host: str) -> Policy:
    """Say what makes a node's place where its configuration does not: on loopback nobody is kept from many addresses,
    and nodes that are told apart by their ports alone are what people try first.
    """
    return Policy.ADDRESS if canonical_ip(host).is_loopback else Policy.IP


SECTIONS: dict[str, type] = {
    "dht": DhtSection,
    "tls": TlsSection,
    "limits": LimitsSection,
    "watch": WatchSection,
    "web": WebSection,
    "log": LogSection,
}
"""The sections that are ours; those of other modules in the same file are left alone."""


def options(section: str) -> dict[str, Reading]:
    """List the options of one of our sections by name, in the order in which they are documented."""
    return {option.name: _reading(option) for option in fields(SECTIONS[section])}


def contradictions(config: NodeConfig) -> Iterator[tuple[str, str, str]]:
    """Find what no single value shows: section, option, and what is wrong with it."""
    yield from _of_addresses(config)
    yield from _of_records(config.dht)
    yield from _of_tls(config)
    yield from _of_web(config)


def _of_addresses(config: NodeConfig) -> Iterator[tuple[str, str, str]]:
    dht = config.dht
    api, own, public = config.api_address, dht.p2p_address, dht.public_address
    if isinstance(api, Address) and not api.is_loopback and not dht.api_beyond_loopback:
        yield "dht", "api_address", f"{api} is not loopback; that needs api_beyond_loopback = yes"
    if api == own:
        yield "dht", "api_address", f"{api} is p2p_address as well; the two need ports of their own"
    if own.is_wildcard and public is None:
        reason = f"{own} listens everywhere but cannot be dialled; public_address must say what can"
        yield "dht", "p2p_address", reason
    if public is not None and not public.is_ip:
        yield "dht", "public_address", f"{public} is not the IP address and port that others dial"


def _of_records(dht: DhtSection) -> Iterator[tuple[str, str, str]]:
    if dht.default_store_duration > dht.max_store_duration:
        reason = f"{dht.default_store_duration} s is more than max_store_duration, {dht.max_store_duration} s"
        yield "dht", "default_store_duration", reason
    if dht.replication > dht.successors:
        yield "dht", "replication", f"{dht.replication} copies do not fit {dht.successors} successors"


def _of_tls(config: NodeConfig) -> Iterator[tuple[str, str, str]]:
    dht, tls = config.dht, config.tls
    if tls.mode is TlsMode.OFF:
        for name, address in ("p2p_address", dht.p2p_address), ("public_address", dht.public_address):
            if address is not None and not address.is_loopback:
                yield "dht", name, f"{address} is not loopback; that needs [tls] mode = open or closed"
        if tls.secret:
            yield "tls", "secret", "needs mode = open or closed: without TLS its proof could be overheard"
    if tls.mode is TlsMode.CLOSED:
        for name, path in ("authority", tls.authority), ("certificate", tls.certificate):
            if path is None:
                yield "tls", name, "is needed with mode = closed"
    else:
        if tls.authority is not None:
            yield "tls", "authority", "says who may join; that needs mode = closed"
        if tls.revoked is not None:
            yield "tls", "revoked", "is the list of an authority; that needs mode = closed"
    if tls.certificate is not None and tls.key is None and config.hostkey is None:
        yield "tls", "certificate", "needs its private key, as key or hostkey"


def _of_web(config: NodeConfig) -> Iterator[tuple[str, str, str]]:
    web = config.web
    if (web.certificate is None) != (web.key is None):
        yield "web", "certificate", "and key are needed both, or neither"
    if web.address is None:
        return
    if web.address in (config.api_address, config.dht.p2p_address):
        yield "web", "address", f"{web.address} is an address of [dht] as well; it needs a port of its own"
    if web.address.is_loopback:
        return
    if not web.beyond_loopback:
        yield "web", "address", f"{web.address} is not loopback; that needs beyond_loopback = yes"
    if web.certificate is None or web.token is None:
        yield "web", "address", f"{web.address} is not loopback; that needs certificate, key and token"


def _reading(option: Field[Any]) -> Reading:
    reading: Reading = option.metadata["reading"]
    return reading
