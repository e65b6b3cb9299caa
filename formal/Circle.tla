------------------------------- MODULE Circle -------------------------------
(***************************************************************************)
(* Positions on the circle, lists of successors, and the shape of a ring:  *)
(* what the other modules have in common.  `Places' positions stand for    *)
(* 2**256, which is enough as long as there is one for each node, since    *)
(* the rules only compare (chordtwist/core/ring.py).                       *)
(*                                                                         *)
(* A list of successors is written as the set of its entries.  The code    *)
(* keeps every list in ring order, each entry once, without its owner, by  *)
(* construction (`copied' and `in_order' of chordtwist/core/small_ring.py),*)
(* so the set tells the list.                                              *)
(***************************************************************************)
EXTENDS Integers, FiniteSets

CONSTANT Places

Ids == 0 .. Places - 1

None == Places  \* no node

Dist(a, b) == (b - a) % Places

\* Strictly inside, clockwise from a to b; when a = b everything except a.
Between(a, x, b) == IF a = b THEN x # a ELSE 0 < Dist(a, x) /\ Dist(a, x) < Dist(a, b)

Head(me, list) == CHOOSE x \in list : \A y \in list : Dist(me, x) <= Dist(me, y)

Last(me, list) == CHOOSE x \in list : \A y \in list : Dist(me, x) >= Dist(me, y)

\* The first k entries.
Cut(me, list, k) == {x \in list : Cardinality({y \in list : Dist(me, y) < Dist(me, x)}) < k}

\* Whether x is inside the span of the list, where the next copy may add it without skipping anybody.
InSpan(me, x, list) == list # {} /\ x # me /\ Dist(me, x) < Dist(me, Last(me, list))

\* Of the list that e shows, what me has behind e: cut where it comes round to me.
Behind(me, e, list) == {x \in list : Between(e, x, me)}

\* The extended list [me] + list has two neighbours that x lies between; closes: and me again at the end.
Skips(me, list, closes, x) == x # me /\ x \notin list /\ (closes \/ InSpan(me, x, list))

(***************************************************************************)
(* The shape: `next' is the first living successor of each member, None    *)
(* where it has none.                                                      *)
(***************************************************************************)
RECURSIVE Onward(_, _, _)
Onward(next, m, seen) == IF m = None \/ m \in seen THEN seen ELSE Onward(next, next[m], seen \cup {m})

\* Whom m comes to, itself only when it comes back.
Reached(next, m) == Onward(next, next[m], {})

OnRing(next) == {m \in DOMAIN next : m \in Reached(next, m)}

AtLeastOneRingOf(next) == OnRing(next) # {}

AtMostOneRingOf(next) == \A m, n \in OnRing(next) : n \in Reached(next, m)

OrderedRingOf(next) == \A m, n \in OnRing(next) : n \in Reached(next, m) => ~Between(m, n, next[m])

ConnectedAppendagesOf(next) == \A m \in DOMAIN next : Reached(next, m) \cap OnRing(next) # {}

\* An appendage comes in between the two members of the ring that it stands between.
OrderedMergesOf(next) ==
    \A m \in DOMAIN next \ OnRing(next) :
        next[m] \in OnRing(next) => \A n \in OnRing(next) : ~Between(m, n, next[m])

\* Within an appendage nobody passes over one that comes later on the way to the ring.
OrderedAppendagesOf(next) ==
    \A m \in DOMAIN next \ OnRing(next) :
        next[m] \notin OnRing(next) => \A n \in Reached(next, m) \ OnRing(next) : ~Between(m, n, next[m])
=============================================================================
