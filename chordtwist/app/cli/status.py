"""``chordtwist status``: a node's own view of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from chordtwist.app.cli import talking

if TYPE_CHECKING:
    from chordtwist.app.cli.talking import Connect, Door
    from chordtwist.core.address import ApiAddress


@click.command(
    help="""Show what the node knows of itself: its place, its neighbours, what it keeps.

    \b
    Examples:
        chordtwist status
        chordtwist status --json --api 127.0.0.2:7401
    """
)
@talking.api_option
@talking.json_option
@talking.pass_door
def command(door: Door, api: ApiAddress, as_json: bool) -> None:
    """Run ``chordtwist status``."""

    async def conversation(connect: Connect) -> dict[str, Any]:
        client = await connect()
        return await client.status()

    state = door.talk(api, conversation)
    if as_json:
        talking.show_json(state)
    else:
        width = max((len(name) for name in state), default=0) + 2
        for name, value in state.items():
            shown = list(_lines(value))
            for line, text in enumerate(shown or ["none"]):
                talking.show(f"{'' if line else name:{width}}{text}")


def _lines(value: object) -> Iterator[str]:
    # A list takes a line for each of its elements; a group of values is one line.
    if isinstance(value, list):
        for element in value:
            yield from _lines(element)
    elif isinstance(value, Mapping):
        if value:
            yield "  ".join(f"{name} {_word(part)}" for name, part in value.items())
    elif value is not None:
        yield _word(value)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_word(element) for element in value)
    return "none" if value is None else str(value)
