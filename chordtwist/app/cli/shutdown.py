"""``chordtwist shutdown``: let a node leave its ring and end."""

from __future__ import annotations

import click

from chordtwist.app.cli import talking
from chordtwist.app.cli.talking import Caller, Connect
from chordtwist.core.errors import NodeGone


@click.command(
    help="""Let the node leave its ring and end its process.

    It hands its values over to its neighbours first; the command waits until it is gone, which takes 5 seconds at most.

    \b
    Examples:
        chordtwist shutdown
        chordtwist shutdown --api 127.0.0.2:7401
    """
)
@talking.asks_a_node
def command(caller: Caller) -> None:
    """Run ``chordtwist shutdown``."""

    def conversation(connect: Connect) -> bool:
        client = connect()
        client.shutdown()
        # A node that takes no SHUTDOWN from here ends the connection as well. The course's message has no answer, so
        # what tells the two apart is whether somebody still listens.
        try:
            connect()
        except NodeGone:
            return True
        return False

    is_gone = caller.talk(conversation)
    fields: dict[str, object] = {"api": str(caller.api), "shut_down": is_gone}
    if not is_gone:
        raise talking.No(
            f"the node at {caller.api} goes on: it takes no SHUTDOWN from here, or that is not its API", fields
        )
    if caller.as_json:
        talking.show_json(fields)
    else:
        talking.show(f"the node at {caller.api} has left")
