"""What all commands that talk to a node have in common: its address, the connection, and the exit statuses."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from string import hexdigits
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click
from click.core import ParameterSource

from chordtwist.core.address import ApiAddress, UnixAddress, parse_api_address
from chordtwist.core.durations import duration_in_words, duration_s
from chordtwist.core.errors import Malformed, NodeGone, Refused, Unreachable
from chordtwist.core.printable import printable
from chordtwist.core.records import KEY_BYTES, key_of
from chordtwist.net.blocking_client import BlockingClient, Deadline

if TYPE_CHECKING:
    from chordtwist.core.records import PutResult

T = TypeVar("T")

API_ADDRESS = "127.0.0.1:7401"

ANSWER_WITHIN_S = 30.0
"""For everything a command asks: searches are bounded well below it, and leaving takes 5 s."""

UP_WITHIN_S = 3.0
"""How long a node on this machine is given to come up, and to become a member of its ring: it may have been started by
the line before this one."""

TRY_EVERY_S = 0.1

KEY_DIGITS_OFF_MAX = 4
"""Somebody who types so many digits too few or too many may mean a key; it is taken as a name, and that is said."""


class Connect(Protocol):
    """Connects to the node; with `member` one that can be asked for records."""

    def __call__(self, member: bool = False) -> BlockingClient: ...


Conversation = Callable[[Connect], T]
"""What a command asks a node, from beginning to end, and what it learns by that."""


class Told(click.ClickException):
    """The end of a command; what a node has told, or a stranger has told the node, may stand in it.

    `kind` says to programs what happened, `fields` what a command shows with ``--json`` besides.
    """

    kind = "failed"

    def __init__(self, message: str, fields: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.fields = fields or {}

    def format_message(self) -> str:
        """Keep it to one line."""
        return printable(self.message)


class NotReachable(Told):
    """No node, or none that answers."""

    exit_code = 3
    kind = "unreachable"


class No(Told):
    """The node was reached, and what was asked for failed."""

    exit_code = 1


class NotFound(No):
    """There is nothing."""

    kind = "not found"


class Denied(No):
    """Somebody said no."""

    kind = "refused"


class TooFewCopies(Told):
    """Fewer nodes have confirmed a value than were asked for."""

    exit_code = 4
    kind = "too few copies"


class BadValue(Told):
    """A value that nobody can store."""

    exit_code = 2
    kind = "bad usage"


class Door:
    """The way to a node: over its API. Tests bring one that needs no sockets, and a time of their own."""

    clock: Callable[[], float] = staticmethod(time.monotonic)
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def dial(self, api: ApiAddress, deadline: Deadline) -> BlockingClient:
        """Connect once.

        @raise NodeGone: nobody listens there.
        """
        return BlockingClient.connect(api, deadline)


@dataclass(frozen=True)
class Caller:
    """One command's way to the node that it asks."""

    door: Door
    api: ApiAddress
    as_json: bool
    timeout_s: float = ANSWER_WITHIN_S
    wait_s: float | None = None

    def talk(self, conversation: Conversation[T]) -> T:
        """Run `conversation`, which is given a function to connect to the node, and return its result.

        @raise NotReachable: no connection, or no answer in time.
        """
        try:
            return conversation(self._patient())
        except TimeoutError:
            within = duration_in_words(self.timeout_s)
            raise NotReachable(f"the node at {self.api} did not answer within {within}") from None
        except NodeGone as error:
            raise NotReachable(f"{self.api}: {error}") from None
        except Malformed as error:
            raise NotReachable(f"{self.api} is no API of a chordtwist node: {error}") from None

    def confirmed(self, ask: Callable[[BlockingClient], PutResult], key: Key) -> PutResult:
        """Wait for the result of a put or delete.

        @raise No: it was refused, or too few nodes confirmed it.
        """

        def conversation(connect: Connect) -> PutResult:
            client = connect(member=True)
            try:
                return ask(client)
            except Refused as error:
                raise Denied(f"{key}: refused: {error}", key.fields | {"done": False}) from None
            except NodeGone:
                raise
            except Unreachable as error:
                reason = why_in_no_ring(client.status()) or str(error)
                raise No(f"{key}: failed: {reason}", key.fields | {"done": False}) from None

        return self.talk(conversation)

    def _patient(self) -> Connect:
        # A node on this machine may still be starting: for a while it is tried again where nobody listens, and, asked
        # for a member, looked at again until the node is one. Who has been connected once is told at once when the
        # node is gone. A node that is no member by then is handed out all the same: its answers say why it is none.
        door, clock = self.door, self.door.clock
        is_near = isinstance(self.api, UnixAddress) or self.api.is_loopback
        wait_s = self.wait_s if self.wait_s is not None else UP_WITHIN_S if is_near else 0.0
        deadline = Deadline(self.timeout_s, self._say_that_it_waits, clock)
        waits_until_s = clock() + wait_s

        def connect(member: bool = False) -> BlockingClient:
            nonlocal waits_until_s
            while True:
                try:
                    client = door.dial(self.api, deadline)
                except NodeGone:
                    if clock() >= waits_until_s:
                        raise
                else:
                    if not member or clock() >= waits_until_s or client.status().get("member", True):
                        waits_until_s = clock()
                        return client
                    client.close()
                door.sleep(TRY_EVERY_S)
                deadline.restart()

        return connect

    def _say_that_it_waits(self) -> None:
        if sys.stderr is not None and sys.stderr.isatty():
            show(f"waiting for {self.api} ...", err=True)


def why_in_no_ring(state: Mapping[str, Any]) -> str:
    """Say why a node is in no ring, by its status; empty where it is in one."""
    if state.get("member", True):
        return ""
    joining = state.get("joining")
    told = joining.items() if isinstance(joining, Mapping) else ()
    why = "; ".join(f"{address}: {reason}" for address, reason in told)
    return f"this node is in no ring yet{': ' if why else ''}{why}"


@dataclass(frozen=True)
class Key:
    """A key, and the name that was typed for it; None where the key itself was typed, or follows from the value."""

    raw: bytes
    name: str | None = None

    @classmethod
    def of(cls, typed: str) -> Key:
        """Find the key that somebody means."""
        raw = key_of(typed)
        return cls(raw, None if typed.lower() == raw.hex() else typed)

    @property
    def fields(self) -> dict[str, object]:
        """What every command shows of it with ``--json``."""
        return {"key": self.raw.hex()}

    @property
    def whole(self) -> str:
        """Name it so that it can be copied."""
        return self.raw.hex() if self.name is None else f"{self.name} ({self.raw.hex()})"

    def __str__(self) -> str:
        return self.raw.hex() if self.name is None else f"{self.name} ({self.raw.hex()[:8]}...)"


def show(line: str, err: bool = False) -> None:
    """One line of standard output, or of standard error; whatever stands in it, it stays one line."""
    click.echo(printable(line), err=err)


def show_json(shown: dict[str, object]) -> None:
    """One JSON object on one line of standard output."""
    import json

    click.echo(json.dumps(shown))


def _address(context: click.Context, parameter: click.Parameter, written: str) -> ApiAddress:
    # What stands before the command counts as well, and more than the environment.
    before = context.find_root().params.get("api") if context.parent is not None else None
    is_given = context.get_parameter_source("api") is ParameterSource.COMMANDLINE
    if before is not None and not is_given:
        written = before
    origin = "'--api'"
    if before is None and context.get_parameter_source("api") is ParameterSource.ENVIRONMENT:
        origin = "CHORDTWIST_API of the environment"
    try:
        return parse_api_address(written)
    except ValueError as error:
        raise click.BadParameter(f"{error}{_hint(written)}", param_hint=origin) from None


def is_api_named(context: click.Context) -> bool:
    """Whether somebody has said where the API is: before the command, behind it, or in the environment."""
    is_before = context.parent is not None and context.find_root().params.get("api") is not None
    return is_before or context.get_parameter_source("api") is not ParameterSource.DEFAULT


def _hint(written: str) -> str:
    if "://" in written:
        near = written.partition("://")[2].rstrip("/")
        return f": {near}" if near else ""
    is_host = ":" not in written and "/" not in written and written
    return f"; did you mean {written}:7401?" if is_host else ""


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, or a number with a unit."""

    name = "duration"

    def __init__(self, most_s: float, is_whole: bool = False) -> None:
        self._most_s = most_s
        self._is_whole = is_whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            seconds = value if isinstance(value, int | float) else duration_s(value)
            if not 0 <= seconds <= self._most_s:  # nor is NaN
                raise ValueError(f"{value} is not from 0 to {duration_in_words(self._most_s)}")
            if self._is_whole and seconds != int(seconds):
                raise ValueError(f"{value} is no whole number of seconds")
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return int(seconds) if self._is_whole else float(seconds)


def check_name(name: str) -> str:
    """Return the KEY that somebody typed; say so where it is taken as a name but looks like a key gone wrong.

    @raise click.BadParameter: it is empty, as a variable that a script has not set.
    """
    if not name:
        raise click.BadParameter("it is empty; a key has a name, or 64 hexadecimal digits", param_hint="'KEY'")
    if is_nearly_a_key(name):
        show(f"{name} is taken as a name; a key has {2 * KEY_BYTES} digits", err=True)
    return name


def is_nearly_a_key(name: str) -> bool:
    """Tell whether `name` is no key though it may be meant as one: some digits too many or too few, 0x, blanks."""
    digits = name.strip().lower().removeprefix("0x")
    is_close = abs(len(digits) - 2 * KEY_BYTES) <= KEY_DIGITS_OFF_MAX and not set(digits) - set(hexdigits)
    return is_close and (len(digits) != 2 * KEY_BYTES or digits != name.lower())


def _name(context: click.Context, parameter: click.Parameter, name: str) -> str:
    return check_name(name)


api_option = click.option(
    "--api",
    metavar="HOST:PORT",
    envvar="CHORDTWIST_API",
    default=API_ADDRESS,
    show_default=True,
    show_envvar=True,
    callback=_address,
    help="Where the node's API is; [HOST]:PORT with IPv6, unix:PATH for a Unix socket.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Show the outcome as JSON.")
timeout_option = click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=Duration(86_400),
    default=ANSWER_WITHIN_S,
    help="Give up after so long: seconds, or 500s, 5m. Default 30.",
)
wait_option = click.option(
    "--wait",
    "wait_s",
    metavar="S",
    type=Duration(86_400),
    help="Wait so long for a node that is still starting. Default 3 on this machine, else 0.",
)
pass_door = click.make_pass_decorator(Door, ensure=True)
key_argument = click.argument("key", metavar="KEY", callback=_name)


def asks_a_node(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of all that talk to a node, and as first argument a `Caller` made of them."""

    @api_option
    @timeout_option
    @wait_option
    @json_option
    @pass_door
    @wraps(command)
    def called(
        door: Door, /, api: ApiAddress, as_json: bool, timeout_s: float, wait_s: float | None, **words: Any
    ) -> None:
        command(Caller(door, api, as_json, timeout_s, wait_s), **words)

    return called
