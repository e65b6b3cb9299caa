"""Who may ask the web side of a node, judged by the headers of a request before any page sees it."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address

SAFE_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Of RFC 9110, section 9.2.1: they change nothing."""

_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(:[0-9]{1,5})?")

Headers = Callable[[bytes], Sequence[bytes]]
"""All values of one header, by its name."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a request is not served: a status of HTTP, and a line for people."""

    status: int
    detail: str


class Guard:
    """Judges requests: their Host, their Origin and their token.

    @ivar token: what everybody has to show; None where nobody has to.
    """

    def __init__(self, scheme: bytes, names: Iterable[str] = (), token: bytes | None = None) -> None:
        """@param scheme: ``http`` or ``https``. @param names: hosts by which it may be asked for, besides IP addresses
        and ``localhost``.
        """
        self._scheme = scheme
        self._names = {name.lower().encode() for name in names} | {b"localhost"}
        self.token = token

    def objection(self, method: bytes, headers: Headers) -> Objection | None:
        """Say why a request is not served; None when it is."""
        return (
            self._of_host(headers)
            or self._of_token(headers)
            or self._of_origin(method, headers)
            or self._of_fetch(method, headers)
        )

    def _of_host(self, headers: Headers) -> Objection | None:
        # A page of somebody else's can have its own name resolved to our address, and is then of one origin with us in
        # the eyes of a browser. Its name is in Host; an IP address there is nobody's name.
        given = headers(b"host")
        matched = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if matched is None:
            return Objection(400, "a request has one Host, a name or an IP address and perhaps a port")
        host = matched[1].lower()
        if host.rstrip(b".") in self._names or _is_ip(host.strip(b"[]")):
            return None
        detail = "this host is asked for by a name that it does not know; [web] names lists those that it does"
        return Objection(421, detail)

    def _of_token(self, headers: Headers) -> Objection | None:
        if self.token is None:
            return None
        given = headers(b"authorization")
        # Never by ==, which takes the longer the more of it is right.
        if len(given) == 1 and compare_digest(_credentials(given[0]), self.token):
            return None
        return Objection(
            401, "needs the token of this node: Authorization: Bearer TOKEN; in a browser, as the password"
        )

    def _of_origin(self, method: bytes, headers: Headers) -> Objection | None:
        origins = headers(b"origin")
        if method in SAFE_METHODS or not origins:
            return None
        if list(origins) == [self._scheme + b"://" + headers(b"host")[0]]:
            return None
        return Objection(403, "a page of another origin changes nothing here")

    def _of_fetch(self, method: bytes, headers: Headers) -> Objection | None:
        # Browsers say whose page asks. Others' pages may lead to ours, but ask nothing in the background: they could
        # not read the answers, yet have the ring asked without end.
        if headers(b"sec-fetch-site")[:1] not in ([b"cross-site"], [b"same-site"]):
            return None
        leads_here = (method, *headers(b"sec-fetch-mode"), *headers(b"sec-fetch-dest"))
        if leads_here == (b"GET", b"navigate", b"document"):
            return None
        return Objection(403, "a page of another origin asks nothing here")


def _credentials(authorization: bytes) -> bytes:
    # Browsers only ask for names and passwords: there, the token is the password.
    scheme, _, rest = authorization.partition(b" ")
    if scheme.lower() == b"bearer":
        return rest.strip()
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(rest.strip(), validate=True).partition(b":")[2]
    except NotBase64:
        return b""


def _is_ip(host: bytes) -> bool:
    try:
        ip_address(host.decode("ascii"))
    except ValueError:
        return False
    return True
