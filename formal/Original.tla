------------------------------ MODULE Original ------------------------------
(***************************************************************************)
(* Chord's maintenance as it was published (Stoica et al., figure 6 and    *)
(* section IV.E.3), as P. Zave analysed it ("Using lightweight modeling to *)
(* understand Chord", 2012): a successor, a second one and a predecessor.  *)
(* None of the properties claimed for it holds.  It is here so that the    *)
(* checker is seen to find what is wrong.  n0 begins alone.                *)
(***************************************************************************)
EXTENDS Circle

VARIABLES member, first, second, pred

vars == <<member, first, second, pred>>

Init ==
    /\ member = {0}
    /\ first = [n \in Ids |-> IF n = 0 THEN 0 ELSE None]
    /\ second = [n \in Ids |-> None]
    /\ pred = [n \in Ids |-> None]

\* Only the successor is set; it may be any that a lookup through an old list finds, also one that has died since.
Join(n) ==
    /\ n \notin member
    /\ \E m \in member :
        /\ first[m] # None /\ (first[m] = m \/ Between(m, n, first[m]))
        /\ first' = [first EXCEPT ![n] = first[m]]
    /\ member' = member \cup {n}
    /\ UNCHANGED <<second, pred>>

\* The successor's predecessor is taken when it is closer, without asking it.
Stabilize(n) ==
    /\ n \in member /\ first[n] \in member
    /\ LET p == pred[first[n]] IN
        /\ p # None /\ Between(n, p, first[n])
        /\ first' = [first EXCEPT ![n] = p]
    /\ UNCHANGED <<member, second, pred>>

Notify(n) ==
    /\ n \in member /\ first[n] \in member
    /\ LET h == first[n] IN
        /\ pred[h] = None \/ Between(pred[h], n, h)
        /\ pred' = [pred EXCEPT ![h] = n]
    /\ UNCHANGED <<member, first, second>>

CopyList(n) ==
    /\ n \in member /\ first[n] \in member
    /\ second' = [second EXCEPT ![n] = first[first[n]]]
    /\ UNCHANGED <<member, first, pred>>

Promote(n) ==
    /\ n \in member /\ first[n] \notin member /\ second[n] # None
    /\ first' = [first EXCEPT ![n] = second[n]]
    /\ second' = [second EXCEPT ![n] = None]
    /\ UNCHANGED <<member, pred>>

Flush(n) ==
    /\ n \in member /\ pred[n] # None /\ pred[n] \notin member
    /\ pred' = [pred EXCEPT ![n] = None]
    /\ UNCHANGED <<member, first, second>>

Best(members, f, s) ==
    [m \in members |-> IF f[m] \in members THEN f[m] ELSE IF s[m] \in members THEN s[m] ELSE None]

Next1 == Best(member, first, second)

\* The assumption of the proofs: nobody loses his last living successor by one failure.
Fail(n) ==
    /\ n \in member
    /\ LET rest == member \ {n} IN
        /\ rest # {}
        /\ \A m \in rest : Best(rest, first, second)[m] = None => Next1[m] = None
        /\ member' = rest
    /\ first' = [first EXCEPT ![n] = None]
    /\ second' = [second EXCEPT ![n] = None]
    /\ pred' = [pred EXCEPT ![n] = None]

Next ==
    \E n \in Ids :
        Join(n) \/ Stabilize(n) \/ Notify(n) \/ CopyList(n) \/ Promote(n) \/ Flush(n) \/ Fail(n)

Spec == Init /\ [][Next]_vars

AtMostOneRing == AtMostOneRingOf(Next1)
AtLeastOneRing == AtLeastOneRingOf(Next1)
ConnectedAppendages == ConnectedAppendagesOf(Next1)
OrderedRing == OrderedRingOf(Next1)
OrderedMerges == OrderedMergesOf(Next1)
OrderedAppendages == OrderedAppendagesOf(Next1)

ListOf(m) == {first[m], second[m]} \ {None, m}

\* Whom a list skips is not in the list of him who stands right before its owner.
ValidSuccessorList ==
    \A m, skipped \in member :
        Skips(m, ListOf(m), FALSE, skipped) =>
            \A before \in member : Next1[before] = m => skipped \notin ListOf(before)
=============================================================================
