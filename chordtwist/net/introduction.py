"""What two nodes tell each other before anything else, and what has to be true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest

from chordtwist.core.errors import Malformed, Refused
from chordtwist.core.parameters import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN, Parameters
from chordtwist.core.peer import Identity, Peer, Policy, canonical_ip
from chordtwist.core.prefixes import can_be_neighbours
from chordtwist.core.signed import Signer, Stamp, Verify, pack_hello
from chordtwist.wire.peer_messages import Hello

SAME_KEY = "runs with this node's key: state_dir was copied, and one of the two needs an empty one"
"""Said of another node; what to do stands in it, since it is the operator who has copied the folder."""

_MEMBERSHIP = b"chordtwist-membership"


@dataclass(frozen=True, slots=True)
class Met:
    """Who is at the other end of a link: the peer it says it is, the key it owns, its run.

    Only on a link that we dialled does it prove that the peer is where it says.
    """

    peer: Peer
    key: bytes
    epoch: int


class Introduction:
    """One node's side of every Hello: makes its own, judges those of others.

    @ivar secret: what all nodes of the network know and nobody else; empty where there is none.
    """

    def __init__(
        self,
        me: Peer,
        identity: Identity,
        parameters: Parameters,
        signer: Signer,
        verify: Verify,
        epoch: int,
        wall_ms: Callable[[], int],
        secret: bytes = b"",
    ) -> None:
        self.me = me
        self.identity = identity
        self.parameters = _as_it_travels(parameters)
        self._signer = signer
        self._verify = verify
        self._epoch = epoch
        self._wall_ms = wall_ms
        self._secret = secret
        self._seq = 0

    def hello(self, dialled: Peer | None, channel: bytes) -> Hello:
        """Make our Hello for one link: to the peer we dialled, or, with None, to whoever dialled us.

        `channel` is what only the two ends of the link can derive; empty without TLS.
        """
        self._seq += 1
        stamp = Stamp(self.me, self._epoch, self._seq, self._wall_ms())
        ours = self.parameters
        return Hello(
            version_min=PROTOCOL_VERSION_MIN,
            version_max=PROTOCOL_VERSION_MAX,
            network=ours.network,
            policy=ours.policy.name.lower(),
            successors=ours.successors,
            replication=ours.replication,
            dead_after_ms=round(ours.dead_after_s * 1000),
            address=self.me.packed,
            key=self._signer.public,
            epoch=stamp.epoch,
            seq=stamp.seq,
            time_ms=stamp.time_ms,
            signature=self._signer.sign(pack_hello(self.identity, stamp, dialled, channel)),
            membership=self._membership(self._signer.public, channel),
        )

    def meet(self, hello: Hello, came_from: str, dialled: Peer | None, channel: bytes) -> Met:
        """Judge who the other side is by its Hello; `came_from` is the IP address at the other end of the transport.

        @raise Refused: we do not talk to it, and why.
        @raise Malformed: the Hello contradicts itself.
        """
        _check_version(hello)
        differences = self.parameters.differences(_parameters_in(hello))
        if differences:
            raise Refused("; ".join(differences))
        try:
            peer = self.identity.unpack(hello.address)
        except ValueError as error:
            raise Malformed(f"a Hello with an impossible address: {error}") from None
        reason = self._why_not_there(hello, peer, came_from, dialled)
        if reason is None:
            reason = self._why_not_proved(hello, peer, dialled, channel)
        if reason is not None:
            raise Refused(reason)
        return Met(peer, hello.key, hello.epoch)

    def _why_not_there(self, hello: Hello, peer: Peer, came_from: str, dialled: Peer | None) -> str | None:
        # What stands against the address that it claims.
        if hello.key == self._signer.public:
            return f"{peer} is this node itself" if peer == self.me else f"{peer} {SAME_KEY}"
        if peer == self.me:
            return f"it claims our own address {peer}"
        if dialled is not None and peer != dialled:
            return f"the node at {dialled} says that its address is {peer}"
        if dialled is None and canonical_ip(peer.host) != canonical_ip(came_from):
            return f"it claims the address {peer} and comes from {came_from}"
        if not can_be_neighbours(self.me, peer):
            return f"the address {peer} it claims cannot be reached from the network of this node's"
        return None

    def _why_not_proved(self, hello: Hello, peer: Peer, dialled: Peer | None, channel: bytes) -> str | None:
        # What stands against its key, and its knowledge of the secret. The other side signed the address that it
        # dialled, so what was said on one link is worth nothing on another.
        stamp = Stamp(peer, hello.epoch, hello.seq, hello.time_ms)
        said = pack_hello(self.identity, stamp, self.me if dialled is None else None, channel)
        if not self._verify(hello.key, hello.signature, said):
            return f"the signature of {peer} does not fit this link"
        if not compare_digest(hello.membership, self._membership(hello.key, channel)):
            return f"{peer} does not know the network's secret" if self._secret else f"{peer} expects a secret"
        return None

    def _membership(self, key: bytes, channel: bytes) -> bytes:
        # With the speaker's key in it, our own proof cannot be sent back to us as somebody else's.
        return hmac_digest(self._secret, _MEMBERSHIP + key + channel, sha256) if self._secret else b""


def _check_version(hello: Hello) -> None:
    if min(hello.version_max, PROTOCOL_VERSION_MAX) < max(hello.version_min, PROTOCOL_VERSION_MIN):
        raise Refused(
            f"protocol versions {hello.version_min} to {hello.version_max} there and"
            f" {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX} here"
        )


def _as_it_travels(parameters: Parameters) -> Parameters:
    # Hello carries whole milliseconds.
    return replace(parameters, dead_after_s=round(parameters.dead_after_s * 1000) / 1000)


def _parameters_in(hello: Hello) -> Parameters:
    try:
        return Parameters(
            network=hello.network,
            policy=Policy[hello.policy.upper()],
            successors=hello.successors,
            replication=hello.replication,
            dead_after_s=hello.dead_after_ms / 1000,
        )
    except KeyError:
        raise Refused(f"its identity policy is {hello.policy!r}, which is unknown here") from None
    except ValueError as error:
        raise Refused(f"its parameters are impossible: {error}") from None
