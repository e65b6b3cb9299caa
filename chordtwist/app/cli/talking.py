"""What all commands that talk to a node have in common: its address, the connection, and the exit statuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from chordtwist.app import values
from chordtwist.core.address import UnixAddress
from chordtwist.core.printable import printable
from chordtwist.core.records import KEY_BYTES

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

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from chordtwist.core.address import ApiAddress
    from chordtwist.core.records import PutResult
    from chordtwist.net.client import DhtClient

    class Connect(Protocol):
        """Connects to the node; with `member` one that can be asked for records."""

        def __call__(self, member: bool = False) -> Awaitable[DhtClient]: ...

    Conversation = Callable[[Connect], Coroutine[Any, Any, T]]


class Told(click.ClickException):
    """The end of a command; what a node has told, or a stranger has told the node, may stand in it."""

    def format_message(self) -> str:
        """Keep it to one line."""
        return printable(self.message)


class NotReachable(Told):
    """No node, or none that answers."""

    exit_code = 3


class No(Told):
    """The node was reached, and what was asked for is not found or was refused."""

    exit_code = 1


class BadValue(Told):
    """A value that nobody can store."""

    exit_code = 2


class Door:
    """The way to a node: over its API, on Twisted's reactor. Tests bring one that needs neither."""

    def talk(self, api: ApiAddress, conversation: Conversation[T]) -> T:
        """Run `conversation`, which is given a function to connect to the node at `api`, and return its result.

        @raise NotReachable: no connection, or no answer in time.
        """
        # Not above: the help of a command is shown without loading Twisted.
        from twisted.internet.defer import TimeoutError

        from chordtwist.core.errors import Malformed
        from chordtwist.net.client import NodeGone

        try:
            return self.run(api, conversation)
        except TimeoutError:
            raise NotReachable(f"the node at {api} did not answer within {ANSWER_WITHIN_S:g} s") from None
        except NodeGone as error:
            raise NotReachable(f"{api}: {error}") from None
        except Malformed as error:
            raise NotReachable(f"{api} is no API of a chordtwist node: {error}") from None

    def run(self, api: ApiAddress, conversation: Conversation[T]) -> T:
        """Run `conversation` and return its result, or raise its error."""
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred
        from twisted.python.failure import Failure

        from chordtwist.net.api_address import dialling_endpoint
        from chordtwist.net.client import DhtClient

        running: Any = reactor
        results: list[T | Failure] = []
        endpoint = dialling_endpoint(running, api)
        waits_s = UP_WITHIN_S if isinstance(api, UnixAddress) or api.is_loopback else 0.0

        def start() -> None:
            connect = patient(lambda: DhtClient.connect(endpoint), waits_s, running)
            talked = Deferred.fromCoroutine(conversation(connect))
            talked.addTimeout(ANSWER_WITHIN_S, running)
            talked.addBoth(results.append).addCallback(lambda added: running.stop())

        running.callWhenRunning(start)
        # Signals end the process: Twisted would end the connection first, and that would look like the node's fault.
        running.run(installSignalHandlers=False)
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result


def patient(connect: Callable[[], Awaitable[DhtClient]], waits_s: float, clock: IReactorTime) -> Connect:
    """Make what connects to a node that may still be starting: for up to `waits_s` from now on it tries again where
    nobody listens, and, asked for a member, looks again until the node is one. Who has been connected once is told at
    once when the node is gone.

    A node that is no member by then is handed out all the same: its answers say why it is none.
    """
    from twisted.internet.task import deferLater

    from chordtwist.net.client import NodeGone

    ends_at_s = clock.seconds() + waits_s

    async def connected(member: bool = False) -> DhtClient:
        nonlocal ends_at_s
        while True:
            try:
                client = await connect()
                if not member or clock.seconds() >= ends_at_s or (await client.status()).get("member", True):
                    ends_at_s = clock.seconds()
                    return client
                await client.close()
            except NodeGone:
                if clock.seconds() >= ends_at_s:
                    raise
            await deferLater(clock, TRY_EVERY_S)

    return connected


pass_door = click.make_pass_decorator(Door, ensure=True)


def confirmed(
    door: Door, api: ApiAddress, conversation: Conversation[PutResult], key: bytes, as_json: bool
) -> PutResult:
    """Wait for the result of a put or delete.

    @raise No: it was refused, or too few nodes confirmed it; with `as_json` that is shown as JSON as well.
    """
    from chordtwist.core.errors import Refused, Unreachable

    try:
        return door.talk(api, conversation)
    except (Refused, Unreachable) as error:
        if as_json:
            show_json({"key": key.hex(), "done": False, "reason": str(error)})
        raise No(f"{key.hex()}: {'refused' if isinstance(error, Refused) else 'failed'}: {error}") from None


def show(line: str, err: bool = False) -> None:
    """One line of standard output, or of standard error; whatever stands in it, it stays one line."""
    click.echo(printable(line), err=err)


def show_json(shown: dict[str, object]) -> None:
    """One JSON object on one line of standard output."""
    click.echo(json.dumps(shown))


def _address(context: click.Context, parameter: click.Parameter, written: str) -> ApiAddress:
    try:
        return values.api_address(written, Path.cwd())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


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
json_option = click.option("--json", "as_json", is_flag=True, help="Show the outcome as one JSON object.")
key_argument = click.argument("key", metavar="KEY", callback=_name)
