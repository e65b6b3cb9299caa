"""The configuration file: INI text to a `NodeConfig`, every option with its unit, default and reason.

The sentence beside an option is what `etc/node.ini` says above it, word for word; a test compares the two. Reading
touches the one file and nothing else: names are resolved, and other paths opened, when the node starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from chordtwist.app import values
from chordtwist.core.address import Address, ApiAddress
from chordtwist.core.errors import ChordtwistError
from chordtwist.core.parameters import SUCCESSORS_MAX
from chordtwist.core.peer import Policy
from chordtwist.core.puzzles import BITS_MAX
from chordtwist.net.api_address import SOCKET_MODE

T = TypeVar("T")

SUCCESSORS_MIN = 8
"""The shortest successor list that a file may ask for: below it two neighbours that die together are a danger."""


STORE_DURATION_MOST_S = 31_536_000
"""A year: the longest life that a file may grant to values."""

_API_ADDRESS: ApiAddress = Address("127.0.0.1", 7401)


class ConfigurationError(ChordtwistError):
    """A configuration cannot be used: names the file, the line, the key, and what would be right."""

    def __init__(self, source: str, line: int | None, key: str | None, reason: str) -> None:
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {reason}" if key is None else f"{place}: {key}: {reason}")
        self.source = source
        self.line = line
        self.key = key
        self.reason = reason


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

    api_address: ApiAddress = _option(
        _API_ADDRESS,
        values.api_address,
        "Where local programs reach the DHT: host:port or unix:PATH. Default 127.0.0.1:7401, the course's habitual"
        " port, on loopback since whoever reaches the API may read, write and shut the node down.",
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
    identity: Policy = _option(
        Policy.IP,
        values.one_of({"ip": Policy.IP, "address": Policy.ADDRESS}),
        "ip or address: what gives a node its place, its IP address alone or address and port. The same at all nodes of"
        " a network. Default ip: one place per address; with address, for many nodes on one host, whoever owns one"
        " address owns 65,535 places.",
    )
    network: str = _option(
        "chordtwist",
        values.text,
        "The name of the network, 1 to 255 bytes: nodes of different names refuse one another, so a test ring never"
        " merges with the real one. Default chordtwist.",
    )
    default_store_duration: int = _option(
        3600,
        values.number(1, STORE_DURATION_MOST_S),
        "Whole seconds a value lives when its PUT says 0. Default 3600: an hour outlives any failure that repair mends,"
        " and what nobody asks for again does not stay.",
    )
    max_store_duration: int = _option(
        86400,
        values.number(1, STORE_DURATION_MOST_S),
        "Whole seconds a value lives at most; a longer life asked for is cut to this. Default 86400: a day bounds what"
        " a stranger can make this node keep.",
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
        values.seconds(0.05),
        "Seconds between two looks at the neighbours while the ring changes; in a quiet ring five times as many."
        " Default 1: a process that ends is noticed at once, a machine that falls silent within 15 s, for some"
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
class WebSection:
    """`[web]`: the status page and the HTTP door."""

    address: Address | None = _option(
        None,
        values.some_address,
        "Where the status page will listen: host:port. Default empty, which is all that this build takes.",
    )


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """`[limits]`: what strangers may cost."""

    questions_per_second: int = _option(
        1000,
        values.number(1, 1_000_000),
        "Questions of other nodes answered per second for each address; five times as many where a node answers when it"
        " is dialled back. Further ones wait. Default 1000: a short question costs at most 0.05 ms, so that is a"
        " twentieth of a processor. Dear ones count for more.",
    )
    connections_per_second: int = _option(
        10,
        values.number(1, 1_000_000),
        "Connections of other nodes taken per second from each address; five seconds' worth may come at once. Default"
        " 10: a TLS handshake costs 2 ms, so that is a fiftieth of a processor. Not counted with identity = address,"
        " where many nodes share one.",
    )
    puzzle_bits: int = _option(
        0,
        values.number(0, BITS_MAX),
        "0 to 22: bits of the puzzle that a node which this one has not dialled solves before it may join or store,"
        " while all such nodes together ask more than questions_per_second. Each bit doubles the work; 20 are half a"
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
        "Records this node keeps, however short. Default 1000000: each costs 700 bytes of memory besides its value.",
    )
    stored_percent_per_address: int = _option(
        50,
        values.number(1, 100),
        "Of both, the percent that one address may have delivered; an eighth of it when that is no neighbour on the"
        " ring. Default 50: a neighbour that repairs this node delivers much, a stranger fills nothing.",
    )


@dataclass(frozen=True, slots=True)
class WatchSection:
    """`[watch]`: how closely other nodes are watched."""


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
class NodeConfig:
    """Everything an operator decides about one node."""

    dht: DhtSection = DhtSection()
    tls: TlsSection = TlsSection()
    web: WebSection = WebSection()
    limits: LimitsSection = LimitsSection()
    watch: WatchSection = WatchSection()
    log: LogSection = LogSection()
    hostkey: Path | None = None
    """The course's `hostkey`, PEM: it serves the certificate only. Stands before any section, in [DEFAULT] or [dht]."""

    @property
    def announced_address(self) -> Address:
        """The address that other nodes dial, from which this node's place follows."""
        return self.dht.public_address or self.dht.p2p_address


SECTIONS: dict[str, type] = {
    "dht": DhtSection,
    "tls": TlsSection,
    "web": WebSection,
    "limits": LimitsSection,
    "watch": WatchSection,
    "log": LogSection,
}
"""The sections that are ours; those of other modules in the same file are left alone."""


def options(section: str) -> dict[str, Reading]:
    """The options of one of our sections by name, in the order in which they are documented."""
    return {option.name: _reading(option) for option in fields(SECTIONS[section])}


def read_file(path: str | Path) -> NodeConfig:
    """The configuration in a file.

    @raise ConfigurationError: it cannot be read, or not be used.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(str(path), None, None, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(str(path), line, None, "is no UTF-8 text") from None
    return read_text(text, str(path), Path(path).absolute().parent)


def read_text(text: str, source: str, folder: Path) -> NodeConfig:
    """The configuration in a text; `source` names it in errors, relative paths start at `folder`.

    @raise ConfigurationError: it cannot be used.
    """
    return _Reader(source, folder).read(text)


@dataclass(frozen=True, slots=True)
class _Given:
    # A value as it stands in the file.
    line: int
    key: str
    text: str


class _Reader:
    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._given: dict[tuple[str, str], _Given] = {}

    def read(self, text: str) -> NodeConfig:
        seen = {""}
        for line, section, key, value in self._lines(text):
            seen.add(section)
            if key:
                self._take(line, section, key, value)
        if "dht" not in seen:
            raise ConfigurationError(self._source, None, None, "has no section [dht]")
        config = NodeConfig(
            dht=self._section(DhtSection, "dht"),
            tls=self._section(TlsSection, "tls"),
            web=self._section(WebSection, "web"),
            limits=self._section(LimitsSection, "limits"),
            watch=self._section(WatchSection, "watch"),
            log=self._section(LogSection, "log"),
            hostkey=self._hostkey(),
        )
        self._check(config)
        return config

    def _lines(self, text: str) -> Iterator[tuple[int, str, str, str]]:
        # Python's configparser refuses keys before the first section and takes the colon of an address for a
        # separator, so the few rules of the format are here: line, section, key and value; no key where a section
        # opens. Sections and keys are without case, as in Windows.
        section = ""
        for line, raw in enumerate(text.splitlines(), 1):
            content = _without_comment(raw)
            if content.startswith("["):
                if not content.endswith("]"):
                    raise ConfigurationError(
                        self._source, line, None, f"{content!r} opens a section without a closing ]"
                    )
                section = content[1:-1].strip().lower()
                yield line, section, "", ""
            elif content and (section in SECTIONS or not section or section == "default"):
                key, separator, value = content.partition("=")
                if not separator or not key.strip():
                    raise ConfigurationError(self._source, line, None, f"{content!r} is not of the form key = value")
                yield line, section, key.strip().lower(), value.strip()

    def _take(self, line: int, section: str, key: str, value: str) -> None:
        if key == "hostkey" and section in ("", "default", "dht"):
            place, name = "", key
        elif section in SECTIONS:
            place, name = section, self._known(line, section, key)
        elif section == "" and key in _names("dht"):
            raise ConfigurationError(self._source, line, key, "stands before any section; [dht] belongs above it")
        else:
            return  # a default, or a key before any section, that is for other modules
        earlier = self._given.get((place, name))
        if earlier is not None:
            also = "" if earlier.key == key else f", as {earlier.key}"
            raise ConfigurationError(self._source, line, key, f"is already given in line {earlier.line}{also}")
        self._given[place, name] = _Given(line, key, value)

    def _known(self, line: int, section: str, key: str) -> str:
        names = _names(section)
        if key in names:
            return names[key]
        nearest = get_close_matches(key, names, n=1, cutoff=0.0)
        instead = f"the nearest known one is {nearest[0]}" if nearest else "this section has no keys yet"
        raise ConfigurationError(self._source, line, key, f"is no key of [{section}]; {instead}")

    def _section(self, kind: type[T], section: str) -> T:
        values: dict[str, object] = {}
        for name, reading in options(section).items():
            given = self._given.get((section, name))
            if given is not None:
                values[name] = self._value(given, reading)
        return kind(**values)

    def _value(self, given: _Given, reading: Reading) -> object:
        try:
            return reading.read(given.text, self._folder)
        except ValueError as error:
            raise ConfigurationError(self._source, given.line, given.key, str(error)) from None

    def _hostkey(self) -> Path | None:
        given = self._given.get(("", "hostkey"))
        return None if given is None else values.path(given.text, self._folder)

    def _check(self, config: NodeConfig) -> None:
        # What no single value shows.
        dht, tls = config.dht, config.tls
        if isinstance(dht.api_address, Address) and not dht.api_address.is_loopback and not dht.api_beyond_loopback:
            self._fail("dht", "api_address", f"{dht.api_address} is not loopback; that needs api_beyond_loopback = yes")
        if dht.api_address == dht.p2p_address:
            self._fail(
                "dht", "api_address", f"{dht.api_address} is p2p_address as well; the two need ports of their own"
            )
        if dht.p2p_address.is_wildcard and dht.public_address is None:
            self._fail(
                "dht",
                "p2p_address",
                f"{dht.p2p_address} listens everywhere but cannot be dialled; public_address must say what can",
            )
        if dht.public_address is not None and (dht.public_address.is_wildcard or not dht.public_address.is_ip):
            self._fail("dht", "public_address", f"{dht.public_address} is not the IP address and port that others dial")
        if dht.default_store_duration > dht.max_store_duration:
            self._fail(
                "dht",
                "default_store_duration",
                f"{dht.default_store_duration} s is more than max_store_duration, {dht.max_store_duration} s",
            )
        if dht.replication > dht.successors:
            self._fail("dht", "replication", f"{dht.replication} copies do not fit {dht.successors} successors")
        if tls.mode is TlsMode.OFF:
            for name, address in ("p2p_address", dht.p2p_address), ("public_address", dht.public_address):
                if address is not None and not address.is_loopback:
                    self._fail("dht", name, f"{address} is not loopback; that needs [tls] mode = open or closed")
        if tls.mode is TlsMode.CLOSED:
            for name in "authority", "certificate":
                if getattr(tls, name) is None:
                    self._fail("tls", name, "is needed with mode = closed")
        if tls.mode is TlsMode.OFF and tls.secret:
            self._fail("tls", "secret", "needs mode = open or closed: without TLS its proof could be overheard")
        if tls.authority is not None and tls.mode is not TlsMode.CLOSED:
            self._fail("tls", "authority", "says who may join; that needs mode = closed")
        if tls.revoked is not None and tls.mode is not TlsMode.CLOSED:
            self._fail("tls", "revoked", "is the list of an authority; that needs mode = closed")
        if tls.certificate is not None and tls.key is None and config.hostkey is None:
            self._fail("tls", "certificate", "needs its private key, as key or hostkey")

    def _fail(self, section: str, name: str, reason: str) -> None:
        given = self._given.get((section, name))
        if given is None:
            raise ConfigurationError(self._source, None, f"[{section}] {name}", reason)
        raise ConfigurationError(self._source, given.line, given.key, reason)


def _without_comment(line: str) -> str:
    # A comment opens the line or follows a blank, so that a path may hold either sign.
    stripped = line.strip()
    for at, sign in enumerate(stripped):
        if sign in ";#" and (at == 0 or stripped[at - 1].isspace()):
            return stripped[:at].rstrip()
    return stripped


def _reading(option: Field[Any]) -> Reading:
    reading: Reading = option.metadata["reading"]
    return reading


def _names(section: str) -> dict[str, str]:
    # Every spelling of the section's keys, to its name.
    return {spelling: name for name, reading in options(section).items() for spelling in (name, *reading.aliases)}
