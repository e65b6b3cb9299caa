"""Put a value so that it is stored, or say why not: ``python errors.py [HOST:PORT]``."""

import asyncio
import sys

import chordtwist

TRIES = 5


async def put(dht: chordtwist.aio.AsyncClient, key: str, value: bytes) -> None:
    """Store a value; what may pass by itself is tried again, with the double wait each time."""
    for tried in range(TRIES):
        try:
            async with asyncio.timeout(10):
                await dht.put_confirmed(key, value)
            return
        except chordtwist.NodeGone:
            raise  # this connection is of no use any more: connect again
        except (chordtwist.Unreachable, TimeoutError):
            if tried == TRIES - 1:
                raise
            await asyncio.sleep(0.1 * 2**tried)


async def main(address: str = "127.0.0.1:7401") -> None:
    try:
        async with chordtwist.aio.connect(address) as dht:
            await put(dht, "greeting", b"good morning")
            print("stored")
    except chordtwist.Refused as error:
        print(f"another record stands there by right: {error}")
    except chordtwist.ChordtwistError as error:
        print(f"not stored: {error}")


asyncio.run(main(*sys.argv[1:]))
