"""What all commands that talk to a node have in common: its address, the connection, and the exit statuses."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chordtwist.app import values

T = TypeVar("T")

API_ADDRESS = "127.0.0.1:7401"

ANSWER_WITHIN_S = 30.0
"""For everything a command asks: searches are bounded well below it, and leaving takes 5 s."""


if TYPE_CHECKING:
    from chordtwist.core.address import ApiAddress
    from chordtwist.core.records import PutResult
    from chordtwist.net.client import DhtClient

    Connect = Callable[[], Awaitable[DhtClient]]
    Conversation = Callable[[Connect], Coroutine[Any, Any, T]]


class NotReachable(click.ClickException):
    """No node, or none that answers."""

    exit_code = 3


class No(click.ClickException):
    """The node was reached, and what was asked for is not found or was refused."""

    exit_code = 1


class BadValue(click.ClickException):
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

        def start() -> None:
            talked = Deferred.fromCoroutine(conversation(lambda: DhtClient.connect(endpoint)))
            talked.addTimeout(ANSWER_WITHIN_S, running)
            talked.addBoth(results.append).addCallback(lambda added: running.stop())

        running.callWhenRunning(start)
        running.run()
        if not results:
            raise click.Abort  # by Ctrl-C
        result = results[0]
        if isinstance(result, Failure):
            result.raiseException()
        return result


pass_door = click.make_pass_decorator(Door, ensure=True)


def confirmed(
    door: Door, api: ApiAddress, conversation: Conversation[PutResult], key: bytes, as_json: bool
) -> PutResult:
    """The result of a put or delete.

    @raise No: it was refused, or too few nodes confirmed it; with `as_json` that is shown as JSON as well.
    """
    from chordtwist.core.errors import Refused, Unreachable

    try:
        return door.talk(api, conversation)
    except (Refused, Unreachable) as error:
        if as_json:
            show_json({"key": key.hex(), "done": False, "reason": str(error)})
        raise No(f"{key.hex()}: {'refused' if isinstance(error, Refused) else 'failed'}: {error}") from None


def show_json(shown: dict[str, object]) -> None:
    """One JSON object on one line of standard output."""
    click.echo(json.dumps(shown))


def _address(context: click.Context, parameter: click.Parameter, written: str) -> ApiAddress:
    try:
        return values.api_address(written, Path.cwd())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _key(context: click.Context, parameter: click.Parameter, name: str) -> bytes:
    from chordtwist.net.client import key_of

    return key_of(name)


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
key_argument = click.argument("key", metavar="KEY", callback=_key)
