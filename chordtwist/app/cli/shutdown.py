"""``chordtwist shutdown``: let a node leave its ring and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from chordtwist.app.cli import talking

if TYPE_CHECKING:
    from chordtwist.app.cli.talking import Connect, Door
    from chordtwist.core.address import ApiAddress


@click.command(
    help="""Let the node leave its ring and end its process.

    It hands its values over to its neighbours first; the command waits until it is gone, which takes 5 seconds at most.

    \b
    Examples:
        chordtwist shutdown
        chordtwist shutdown --api 127.0.0.2:7401
    """
)
@talking.api_option
@talking.json_option
@talking.pass_door
def command(door: Door, api: ApiAddress, as_json: bool) -> None:
    """Run ``chordtwist shutdown``."""

    async def conversation(connect: Connect) -> bool:
        from chordtwist.net.client import NodeGone

        client = await connect()
        await client.shutdown()
        # A node that takes no SHUTDOWN from here ends the connection as well. The course's message has no answer, so
        # what tells the two apart is whether somebody still listens.
        try:
            await connect()
        except NodeGone:
            return True
        return False

    is_gone = door.talk(api, conversation)
    if as_json:
        talking.show_json({"api": str(api), "shut_down": is_gone})
    elif is_gone:
        talking.show(f"the node at {api} has left")
    if not is_gone:
        raise talking.No(f"the node at {api} goes on: it takes no SHUTDOWN from here, or that is not its API")
