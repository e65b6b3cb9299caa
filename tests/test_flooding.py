"""The dearest questions there are: all kinds, each as long as it may be, and what is wrong is so at the last check."""

from __future__ import annotations

from functools import cache

from twisted.trial.unittest import SynchronousTestCase

from chordtwist.core.errors import Malformed
from chordtwist.core.evidence import Charge, Evidence, judge
from chordtwist.core.peer import Identity, Policy
from chordtwist.core.signed import verify_ed25519
from chordtwist.wire.peer_messages import Accuse, Question, decode, encode
from tests.flooding import QUESTIONS, dearest_questions

IDENTITY = Identity("test", Policy.IP)
ME, MEMBER = IDENTITY.peer("127.66.1.200", 6401), IDENTITY.peer("127.66.1.2", 6401)


@cache
def asked() -> dict[str, Question]:
    """One of each."""
    return {name: make() for name, make in dearest_questions(IDENTITY, ME, bytes(32), [MEMBER]).items()}


class DearestTests(SynchronousTestCase):
    """What the flood asks."""

    def test_all_kinds(self) -> None:
        """Every question that the protocol knows is asked, and is one that the other side reads."""
        self.assertEqual(set(QUESTIONS), {type(question) for question in asked().values()})
        for name, question in asked().items():
            raw = encode(question)
            self.assertEqual(question, decode(question.kind, raw), name)
            self.assertLessEqual(len(raw), question.body_bytes_max, name)

    def test_proofs(self) -> None:
        """Proofs convict, or are found to be none by their last signature."""
        proofs = {name: question for name, question in asked().items() if isinstance(question, Accuse)}
        self.assertEqual({Charge.EQUIVOCATION, Charge.BROKEN_LEASE}, {proof.charge for proof in proofs.values()})
        for name, proof in proofs.items():
            given = (proof.first, proof.first_signature, proof.second, proof.second_signature)
            evidence = Evidence(Charge(proof.charge), *given)
            if name.endswith("in vain"):
                error = self.assertRaises(Malformed, judge, IDENTITY, evidence, verify_ed25519)
                self.assertIn("did not sign", str(error))
                self.assertTrue(verify_ed25519(judge_key(evidence), proof.first_signature, proof.first))
            else:
                self.assertEqual(ME, judge(IDENTITY, evidence, verify_ed25519).culprit)


def judge_key(evidence: Evidence) -> bytes:
    """Read the key that a proof is judged by."""
    return judge(IDENTITY, evidence, lambda public, signature, body: True).key
