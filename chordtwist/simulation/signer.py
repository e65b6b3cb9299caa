"""A signature for simulations: the shapes of `core.signed`, at a hundredth of the price.

Whoever knows a public key can sign with it. That is no loss here: adversaries of the simulation who must not forge
simply do not, and those who try to forge sign with a wrong key, which is found out all the same.
"""

from __future__ import annotations

from hashlib import blake2b

from chordtwist.core.signed import KEY_LENGTH, SIGNATURE_LENGTH


class SimulatedSigner:
    """The key of one simulated node; see `core.signed.Signer`."""

    def __init__(self, seed: bytes) -> None:
        self.public = blake2b(seed, digest_size=KEY_LENGTH).digest()

    def sign(self, body: bytes) -> bytes:
        return blake2b(body, key=self.public, digest_size=SIGNATURE_LENGTH).digest()


def verify_simulated(public: bytes, signature: bytes, body: bytes) -> bool:
    """See `core.signed.Verify`."""
    return blake2b(body, key=public, digest_size=SIGNATURE_LENGTH).digest() == signature
