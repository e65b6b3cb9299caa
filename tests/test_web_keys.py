"""``/v1/keys/KEY``: the hash table over HTTP."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Refused, StoreFull, Unreachable
from chordtwist.core.records import VALUE_BYTES_MAX, key_of, seal, signed_key
from chordtwist.core.signed import Ed25519Signer
from chordtwist.net.web.answers import Page
from chordtwist.net.web.guard import Guard
from chordtwist.net.web.keys import KEYS_WATCHED_MAX, OPENAPI, WATCHED_AGAIN_S, Described, Keys, seal_text
from chordtwist.net.web.site import WebSite
from chordtwist.net.web.streams import STREAMS_MAX, UNREAD_S
from tests.memory_dht import MemoryDht
from tests.web_client import Reply, ask, open_connection, request_bytes

SIGNER = Ed25519Signer(b"k" * 32)
SIGNED = f"/v1/keys/{signed_key(SIGNER.public, b'').hex()}"


class KeysCase(SynchronousTestCase):
    """A site before a hash table in memory."""

    def setUp(self) -> None:
        """Open it."""
        self.clock = Clock()
        self.dht = MemoryDht(self.clock)
        self.keys = Keys(self.dht, lambda: int(self.clock.seconds() * 1000), self.clock)
        root = Page()
        first_version = Page()
        first_version.putChild(b"keys", self.keys)
        first_version.putChild(b"openapi.json", Described())
        root.putChild(b"v1", first_version)
        self.site = WebSite(root, Guard(b"http"), self.clock)

    def signed(self, value: bytes, seq: int, method: str = "PUT", **headers: Any) -> Reply:
        """Write a signed record."""
        made = seal(SIGNER, value, seq)
        return ask(self.site, SIGNED, method, value, Chord_Seal=seal_text(made).decode(), **headers)


class ValueTests(KeysCase):
    """Values."""

    def test_round(self) -> None:
        """What is put under a key is got there, byte for byte, with all that belongs to it; then it is ended."""
        value = bytes(range(256))
        put = ask(self.site, "/v1/keys/greeting", "PUT", value, Chord_TTL="600", Prefer="copies=3, respond-async")
        self.assertEqual((200, key_of("greeting").hex(), 3), (put.status, put.json["key"], put.json["wanted"]))
        self.assertEqual("copies=3", put.headers["preference-applied"])
        self.assertEqual([(key_of("greeting"), value, 600.0, 3)], self.dht.puts)
        got = ask(self.site, "/v1/keys/greeting")
        self.assertEqual((200, value, put.headers["etag"]), (got.status, got.body, got.headers["etag"]))
        self.assertEqual(("plain", "600"), (got.headers["chord-kind"], got.headers["chord-ttl"]))
        self.assertEqual(200, ask(self.site, "/v1/keys/greeting", "DELETE").status)
        self.assertEqual(404, ask(self.site, "/v1/keys/greeting").status)

    def test_keys(self) -> None:
        """64 hexadecimal digits are the key; anything else is a name, with slashes and all."""
        ask(self.site, "/v1/keys/" + "AB" * 32, "PUT", b"v")
        ask(self.site, "/v1/keys/a%2Fb%20%C3%A9", "PUT", b"v")
        self.assertEqual([b"\xab" * 32, key_of("a/b é")], [put[0] for put in self.dht.puts])
        for path in "/v1/keys/", "/v1/keys", "/v1/keys/a/b", "/v1/keys/" + "x" * 1025:
            self.assertIn(ask(self.site, path).status, (404, 405), path)

    def test_unchanged(self) -> None:
        """Who names the version that it has gets no value again."""
        ask(self.site, "/v1/keys/a", "PUT", b"v")
        tag = ask(self.site, "/v1/keys/a").headers["etag"]
        reply = ask(self.site, "/v1/keys/a", If_None_Match=tag)
        self.assertEqual((304, b""), (reply.status, reply.body))
        self.assertEqual(200, ask(self.site, "/v1/keys/a", If_None_Match='"other"').status)

    def test_harmless(self) -> None:
        """A value is nothing that a browser runs or shows, whatever it is."""
        ask(self.site, "/v1/keys/a", "PUT", b"<script>alert(1)</script>")
        headers = ask(self.site, "/v1/keys/a").headers
        self.assertEqual(
            ("application/octet-stream", "attachment"), (headers["content-type"], headers["content-disposition"])
        )
        self.assertIn("default-src 'none'", headers["content-security-policy"])

    def test_bad_requests(self) -> None:
        """What cannot be meant is refused, with what would be right, and nothing is written."""
        for body, headers, words in (
            (b"", {}, "1 to 65495 bytes"),
            (b"v" * (VALUE_BYTES_MAX + 1), {}, "1 to 65495 bytes"),
            (b"v", {"Chord_TTL": "soon"}, "Chord-Ttl is a whole number"),
            (b"v", {"Chord_TTL": "0"}, "Chord-Ttl is a whole number"),
            (b"v", {"Chord_TTL": "9" * 5000}, "Chord-Ttl is a whole number"),
            (b"v", {"If_Match": '"5"'}, "If-Match and If-None-Match are for signed records"),
            (b"v", {"If_None_Match": '"5"'}, "If-None-Match is *"),
        ):
            reply = ask(self.site, "/v1/keys/a", "PUT", body, **headers)
            self.assertEqual(400, reply.status, words)
            self.assertIn(words, reply.json["detail"])
        self.assertEqual([], self.dht.puts)

    def test_other_origins(self) -> None:
        """A page of another origin writes and ends nothing, and is not told that it may ask."""
        for method in "PUT", "DELETE":
            self.assertEqual(403, ask(self.site, "/v1/keys/a", method, b"v", Origin="http://evil.example").status)
        reply = ask(self.site, "/v1/keys/a", "OPTIONS", Origin="http://evil.example")
        self.assertEqual((405, False), (reply.status, "access-control-allow-origin" in reply.headers))
        self.assertEqual([], self.dht.puts)

    def test_failures(self) -> None:
        """Each way to fail has a status of its own."""
        for error, status in (Unreachable(None, "no"), 503), (Refused("no"), 409), (StoreFull("full"), 507):
            self.dht.put = lambda *given, error=error: fail(error)  # type: ignore[method-assign]
            reply = ask(self.site, "/v1/keys/a", "PUT", b"v")
            self.assertEqual((status, status), (reply.status, reply.json["status"]))

    def test_described(self) -> None:
        """The description names the methods and every status that there is."""
        described = ask(self.site, "/v1/openapi.json").json
        self.assertEqual(json.loads(OPENAPI), described)
        methods = described["paths"]["/v1/keys/{key}"]
        self.assertEqual({"get", "put", "delete", "parameters"}, set(methods))
        self.assertLessEqual({"200", "400", "409", "412", "503", "507"}, set(methods["put"]["responses"]))


class SignedTests(KeysCase):
    """Signed records."""

    def test_compare_and_swap(self) -> None:
        """A write with If-Match takes the place of that record only; with If-None-Match of none."""
        self.assertEqual(200, self.signed(b"one", 1, If_None_Match="*").status)
        self.assertEqual(412, self.signed(b"other", 2, If_None_Match="*").status)
        self.assertEqual(412, self.signed(b"other", 2, If_Match='"7"').status)
        got = ask(self.site, SIGNED)
        self.assertEqual(
            (b"one", '"1"', "seq=1", "signed"),
            (got.body, got.headers["etag"], got.headers["chord-seal"][77:82], got.headers["chord-kind"]),
        )
        self.assertEqual(200, self.signed(b"two", 2, If_Match=got.headers["etag"]).status)
        self.assertEqual(b"two", ask(self.site, SIGNED).body)

    def test_forged(self) -> None:
        """A signature that does not hold writes nothing, whatever stands there."""
        forged = f"public-key={SIGNER.public.hex()}; seq=1; signature={'00' * 64}"
        reply = ask(self.site, SIGNED, "PUT", b"v", Chord_Seal=forged)
        nonsense = ask(self.site, SIGNED, "PUT", b"v", Chord_Seal="seq=5")
        self.assertEqual(403, nonsense.status)
        self.assertIn("Chord-Seal is public-key=HEX; seq=NUMBER", nonsense.json["detail"])
        self.assertEqual((403, 404), (reply.status, ask(self.site, SIGNED).status))

    def test_ended(self) -> None:
        """Its owner ends it, by a seal over nothing."""
        self.signed(b"one", 1)
        self.assertEqual(200, self.signed(b"", 2, "DELETE").status)
        self.assertEqual(404, ask(self.site, SIGNED).status)

    def test_digest(self) -> None:
        """A value under its own SHA-256 is a content record."""
        ask(self.site, f"/v1/keys/{sha256(b'v').hexdigest()}", "PUT", b"v")
        self.assertEqual("content", ask(self.site, f"/v1/keys/{sha256(b'v').hexdigest()}").headers["chord-kind"])


class WatchTests(KeysCase):
    """Watching."""

    def watch(self, name: str = "a") -> tuple[Any, StringTransport]:
        """One more who watches."""
        channel, transport = open_connection(self.site)
        channel.dataReceived(request_bytes(f"/v1/keys/{name}", headers={"Accept": "text/event-stream"}))
        return channel, transport

    def told(self, transport: StringTransport) -> list[Any]:
        """The values since it was last asked."""
        found = re.findall(r"event: (\w+)\ndata: (.*)\n\n", transport.value().decode())
        transport.clear()
        return [b64decode(json.loads(data)["value_base64"]) if name == "value" else None for name, data in found]

    def put(self, value: bytes) -> None:
        """Write, and let a second pass."""
        ask(self.site, "/v1/keys/a", "PUT", value)
        self.clock.advance(WATCHED_AGAIN_S)

    def test_values(self) -> None:
        """Who watches is told what is there, then each change, then the end; nothing twice."""
        channel, transport = self.watch()
        self.assertEqual([None], self.told(transport))
        self.put(b"one")
        self.put(b"two")
        self.clock.advance(WATCHED_AGAIN_S)
        self.assertEqual([b"one", b"two"], self.told(transport))
        ask(self.site, "/v1/keys/a", "DELETE")
        self.clock.advance(WATCHED_AGAIN_S)
        self.assertEqual([None], self.told(transport))
        channel.connectionLost()
        self.assertIsNone(self.keys._watches._next)

    def test_many_and_a_slow_one(self) -> None:
        """A hundred who watch one key cost one read a second; the slow one is written nothing and let go in time."""
        reads = []
        get = self.dht.get
        self.keys._watches._get = lambda key: reads.append(key) or get(key)  # type: ignore[func-returns-value]
        watching = [self.watch()[1] for _ in range(100)]
        slow = next(iter(self.keys._watches._watched[key_of("a")].streams))
        reads.clear()
        slow.pauseProducing()
        for number in range(5):
            self.put(b"value %d" % number)
        self.assertEqual((5, 6, 1), (len(reads), len(self.told(watching[1])), len(self.told(watching[0]))))
        slow.resumeProducing()
        self.clock.advance(WATCHED_AGAIN_S)
        self.assertEqual([b"value 4"], self.told(watching[0]))
        slow.pauseProducing()
        self.clock.pump([WATCHED_AGAIN_S] * int(UNREAD_S + 2))
        self.assertEqual((True, False), (watching[0].disconnected, watching[1].disconnected))

    def test_bounds(self) -> None:
        """Beyond the bounds on keys and on watchers one is told so."""
        for number in range(KEYS_WATCHED_MAX):
            self.watch(f"k{number}")
        self.assertEqual(503, ask(self.site, "/v1/keys/other", Accept="text/event-stream").status)
        for _ in range(STREAMS_MAX - KEYS_WATCHED_MAX):
            self.watch("k0")
        self.assertEqual(503, ask(self.site, "/v1/keys/k0", Accept="text/event-stream").status)

    def test_slow_read(self) -> None:
        """While one read of a key is under way there is no second."""
        reading: list[Deferred[Any]] = []
        self.keys._watches._get = lambda key: reading.append(Deferred()) or reading[-1]  # type: ignore[func-returns-value]
        _, transport = self.watch()
        self.clock.pump([WATCHED_AGAIN_S] * 5)
        self.assertEqual(1, len(reading))
        reading[0].callback(None)
        self.assertEqual([None], self.told(transport))
        self.clock.advance(WATCHED_AGAIN_S)
        self.assertEqual(2, len(reading))
