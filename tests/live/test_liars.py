"""Twenty processes, of which five lie, one attack after another, as one coalition: what the others notice of it."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.parameters import Parameters
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.records import position_of
from chordtwist.core.ring import distance
from chordtwist.core.signed import unpack_table
from chordtwist.simulation.adversaries import ATTACKS
from chordtwist.wire.api_messages import ResultCode
from chordtwist.wire.peer_messages import GetTable, TableIs
from tests import SOAK
from tests.fleet import BIN, Client, Fleet
from tests.hostile import HostilePeer, Papers

HONEST, LIARS = range(1, 16), range(16, 21)
SUCCESSORS = 8
"""Fewer than half of the others: members know one another by their lists, not all of the ring."""

KEYS, COPIES = 60, 4
QUICK = ("colluders", "budgeted", "hide", "invent-anew", "larger-ring", "refuse")
QUICK_S, SOAK_S = 2.0, 600.0
"""Seconds of each attack, and of all of them in a soak."""


def is_safe(replicas: list[int]) -> bool:
    """Whether three replicas of four are honest at least, whoever owns the key."""
    return sum(number in LIARS for number in replicas) <= 1


def contains(liar: int, replicas: list[int]) -> bool:
    """Whether one liar is to keep the key."""
    return liar in replicas


class LiarTests(SynchronousTestCase):
    """A ring of twenty processes; lists of eight.

    They take twenty processes and ten minutes, so they run where somebody wants that:
    ``CHORDTWIST_SOAK=2 python -m twisted.trial tests.live.test_liars``.
    """

    def setUp(self) -> None:
        """Run when it is asked for."""
        if SOAK == 1:
            self.skipTest("twenty processes for ten minutes: CHORDTWIST_SOAK=2 runs it")

    def ring(self, evicts: bool, bytes_per_s: int = 500) -> tuple[Fleet, Path]:
        """Start them, and wait until all lists are right; answers also the file that says how to lie."""
        fleet = Fleet({"successors": SUCCESSORS}, prefix=f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}.")
        self.addCleanup(fleet.close)
        fleet.watch = {"evict": "yes" if evicts else "no", "bytes_per_s": bytes_per_s}
        ring, lie = fleet.folder / "ring.json", fleet.folder / "lie"
        hosts = {number: fleet.host(number) for number in (*HONEST, *LIARS)}
        liars = [hosts[number] for number in LIARS]
        ring.write_text(json.dumps({"hosts": [*hosts.values()], "liars": liars, "successors": SUCCESSORS}))
        fleet.start(HONEST)
        fleet.module = ("tests.lying_build", str(ring), str(lie))
        fleet.start(LIARS)
        fleet.wait_for_ring(60)
        fleet.wait_until(lambda: self.left_out(fleet) == [], 60)
        return fleet, lie

    def test_convicted_everywhere(self) -> None:
        """Those who break what they promised are convicted by every honest node and put out; everybody can read why,
        and check it without a network, and what was put can be read meanwhile.
        """
        fleet, lie = self.ring(evicts=True)
        fleet.wait_until(lambda: all(self.count("leases", state) >= SUCCESSORS for state in self.states(fleet)), 90)
        self.convict(fleet, lie, "colluders", "its table leaves out a neighbour", self.keys(fleet, is_safe))

    def test_broken_receipts(self) -> None:
        """So are those who sign to keep a record for one, and that there is nothing for another."""
        fleet, lie = self.ring(evicts=True, bytes_per_s=5000)
        each = KEYS // len(LIARS)
        keys = [key for liar in LIARS for key in self.keys(fleet, partial(contains, liar))[:each]]
        self.convict(fleet, lie, "break-receipt", "it has less of a record than it had signed to keep", keys)
        self.assertGreater(sum(self.count("audits", state) for state in self.states(fleet)), 0)

    def convict(self, fleet: Fleet, lie: Path, attack: str, why: str, keys: list[bytes]) -> None:
        """Put values, let the liars lie, and wait until everybody else has convicted them, says why, and has done
        without them, while what was put can be read all the time.
        """
        liars = {f"{fleet.host(number)}:6401" for number in LIARS}
        client = fleet.client(1)
        values = {key: b"value of " + key for key in keys}
        for key, value in values.items():
            outcome = client.put_confirmed(key, value, 3600)
            self.assertIs(ResultCode.DONE, outcome.code, outcome.reason)
        lie.write_text(attack)

        def are_convicted() -> bool:
            for key in random.sample([*values], 5):
                self.read(client, key, values[key])
            return all(self.convicted(state) == liars for state in self.states(fleet))

        fleet.wait_until(are_convicted, 300)
        fleet.wait_until(lambda: not any(self.named(state) & liars for state in self.states(fleet)), 60)
        for number in HONEST:
            self.assertIn(f"is convicted: {why}", fleet.log(number))
            self.assertNotIn("Traceback", fleet.log(number))
        self.read_proofs(fleet, liars)

    def states(self, fleet: Fleet) -> list[Mapping[str, object]]:
        """The status of each honest node."""
        states = fleet.statuses()
        return [states[number] for number in HONEST]

    def read(self, client: Client, key: bytes, value: bytes) -> None:
        """Read a value, at the first try."""
        self.assertEqual(value, client.get(key), key.hex()[:8])

    def read_proofs(self, fleet: Fleet, liars: set[str]) -> None:
        """Have every proof checked by the command, as on another machine; some are attested by five tables at least."""
        attested = []
        for liar in liars:
            shown = [self.command(fleet, "show", liar, "--api", f"{fleet.host(number)}:7401") for number in HONEST]
            proofs = [json.loads(text) for text in shown]
            best = max(proofs, key=lambda proof: len(proof["attested"]))
            file = fleet.folder / "proof.json"
            file.write_text(json.dumps(best))
            checked = json.loads(self.command(fleet, "verify", str(file), "--json"))
            self.assertEqual((True, liar), (checked["proved"], checked["address"]))
            attested.append(len(checked["attested_by"]))
        self.assertGreaterEqual(max(attested), 5)

    def command(self, fleet: Fleet, *words: str) -> str:
        """What ``chordtwist evidence`` prints."""
        done = subprocess.run([BIN / "chordtwist", "evidence", *words], capture_output=True, text=True, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def count(self, name: str, state: Mapping[str, object]) -> int:
        count = state[name]
        assert isinstance(count, int)
        return count

    def convicted(self, state: Mapping[str, object]) -> set[str]:
        """Whom a node convicts."""
        convicted = state["convicted"]
        assert isinstance(convicted, list)
        return {one["address"] for one in convicted}

    def named(self, state: Mapping[str, object]) -> set[str]:
        """Whom a node has as successors."""
        successors = state["successors"]
        assert isinstance(successors, list)
        return {*successors}

    def test_attacks_in_turn(self) -> None:
        """What honest nodes put can be read at honest nodes, and nothing else under its key, and nobody honest is out
        of a list of theirs, whatever a quarter of all tells everybody.
        """
        fleet, lie = self.ring(evicts=False)
        clients = [fleet.client(number) for number in HONEST]
        values = {key: b"value of " + key for key in self.keys(fleet, is_safe)}
        for number, (key, value) in enumerate(values.items()):
            outcome = clients[number % len(clients)].put_confirmed(key, value, 3600)
            self.assertIs(ResultCode.DONE, outcome.code, outcome.reason)
        attacks = QUICK if SOAK == 1 else [name for name in ATTACKS if name != "burst"]
        each_s = QUICK_S if SOAK == 1 else SOAK_S / len(attacks)
        gets = 0
        for attack in attacks:
            lie.write_text(attack)
            ends_s = time.monotonic() + 1.0 + each_s  # they look once a second
            while time.monotonic() < ends_s:
                key = random.choice([*values])
                self.read(random.choice(clients), key, values[key])
                gets += 1
            self.assertEqual([], self.left_out(fleet), attack)
            if attack == "colluders":
                self.assertLessEqual(self.shown(fleet, LIARS[0]), {fleet.host(number) for number in LIARS})
        self.assertGreater(gets, 10 * len(attacks))
        for number in HONEST:
            self.assertNotIn("Traceback", fleet.log(number))

    def keys(self, fleet: Fleet, fits: Callable[[list[int]], bool]) -> list[bytes]:
        """Keys whose four replicas are of a kind."""
        ids = {int(str(state["id"]), 16): number for number, state in fleet.statuses().items()}

        def is_fit(key: bytes) -> bool:
            replicas = sorted(ids, key=lambda id: distance(position_of(key), id))[:COPIES]
            return fits([ids[id] for id in replicas])

        keys = (sha256(b"key %d" % number).digest() for number in itertools.count())
        return list(itertools.islice(filter(is_fit, keys), KEYS))

    def shown(self, fleet: Fleet, number: int) -> set[str]:
        """Whom a node names to a stranger as its successors."""
        stranger = fleet.host(100)
        peer = HostilePeer(
            fleet.host(number),
            stranger,
            parameters=Parameters(successors=SUCCESSORS),
            context=Papers(stranger).context(),
        )
        self.addCleanup(peer.close)
        peer.introduce()
        answer = peer.ask(GetTable(0, 0))
        assert isinstance(answer, TableIs), answer
        return {peer.host for peer in unpack_table(Identity("chordtwist", Policy.IP), answer.body).successors}

    def left_out(self, fleet: Fleet) -> list[str]:
        """Who of the honest nodes is missing in a list of another: each should have the next eight of the ring."""
        states = fleet.statuses()
        order = [str(state["address"]) for state in sorted(states.values(), key=lambda state: str(state["id"]))]
        honest = {str(states[number]["address"]) for number in HONEST}
        missing = []
        for number in HONEST:
            at = order.index(str(states[number]["address"])) + 1
            should = (order * 2)[at : at + SUCCESSORS]
            listed = states[number]["successors"]
            assert isinstance(listed, list)
            missing += [f"{one} by {number}" for one in should if one in honest and one not in listed]
        return missing
