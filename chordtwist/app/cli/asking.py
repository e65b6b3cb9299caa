"""What commands ask a node besides records: requests of tools, with the operator's token where one is needed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import hexdigits
from typing import Any

from chordtwist.app.cli.talking import BadValue, Caller, Connect, Denied, No, NotReachable
from chordtwist.core.address import UnixAddress
from chordtwist.net.blocking_client import BlockingClient

OPERATOR_TOKEN_FILE = "operator-token"
"""`storage.state.TOKEN_FILE`, without loading that."""

TOKEN_DIGITS = 64


def one(caller: Caller, request: Mapping[str, object]) -> dict[str, Any]:
    """Ask what is answered with one line.

    @raise NotReachable: the node has an error, and answers with none.
    """
    return caller.talk(lambda connect: first(caller, connect(), request))


def first(caller: Caller, client: BlockingClient, request: Mapping[str, object]) -> dict[str, Any]:
    """Ask what is answered with one line, over a connection that stands.

    @raise NotReachable: as `one`.
    """
    answer = list(lines(caller, client, request))
    if not answer:
        raise NotReachable(f"the node at {caller.api} answered with nothing: its log has the reason")
    return answer[0]


def every(caller: Caller, request: Mapping[str, object]) -> list[dict[str, Any]]:
    """Ask, and gather all lines of the answer.

    @raise No: the node refuses, or cannot.
    """

    def conversation(connect: Connect) -> list[dict[str, Any]]:
        return list(lines(caller, connect(), request))

    return caller.talk(conversation)


def lines(caller: Caller, client: BlockingClient, request: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    """Ask, and give each line as it comes; where the operator is needed, again with his token.

    @raise No: the node refuses, or cannot. @raise BadValue: it is of another version, and knows no such request.
    """
    for line in client.operate(request):
        error = line.get("error")
        if not isinstance(error, Mapping):
            yield line
            continue
        token = "" if "token" in request else _token(caller, str(error.get("token_file") or ""))
        if token:
            yield from lines(caller, client, {**request, "token": token})
            return
        reason = str(error.get("reason", "it says no more"))
        if error.get("kind") == "bad request":
            raise BadValue(f"the node at {caller.api} does not know this request: {reason}")
        raise (Denied if error.get("kind") == "refused" else No)(reason)


def _token(caller: Caller, path: str) -> str:
    """Read the operator's token where the node says that it stands; empty where nobody may trust that.

    Whoever listens at the address names the file: so it is only read if it is called as such files are, if nobody else
    may read it, and if nothing but a token is in it; and it is told to this machine only.
    """
    api = caller.api
    is_here = isinstance(api, UnixAddress) or api.is_loopback
    if not is_here or Path(path).name != OPERATOR_TOKEN_FILE:
        return ""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            return ""
        token = file.read(TOKEN_DIGITS + 2).decode("ascii", "replace").strip()
    return token if len(token) == TOKEN_DIGITS and not set(token) - set(hexdigits) else ""
