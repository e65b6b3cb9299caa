------------------------------- MODULE Merge --------------------------------
(***************************************************************************)
(* Two rings of one network that meet (chordtwist/node/ring/merging.py).   *)
(* A member that meets a member of the other ring compares the two by what *)
(* both tables show: the smaller one gives way, or that without the        *)
(* smallest id; who gives way leaves its ring, and joins the other afresh, *)
(* through the member that it met.  Rings are small here: everybody knows  *)
(* everybody, but late; no switch.  A table shows whom its owner takes for *)
(* members, which may be older than what they do.                          *)
(***************************************************************************)
EXTENDS Circle

CONSTANTS
    First,     \* one ring; all other ids are the other
    Ends,      \* so many members end in the course of it
    Broken

VARIABLES
    ring,      \* "first" or "second" of a member; "joining"; "gone"
    known,     \* whom each takes for a member of its ring, but itself
    through,   \* of one that joins: whom it asks, or None where it asks whoever was lost
    ends

vars == <<ring, known, through, ends>>

Ring(name) == {n \in Ids : ring[n] = name}

member == Ring("first") \cup Ring("second")

Init ==
    /\ ring = [n \in Ids |-> IF n \in First THEN "first" ELSE "second"]
    /\ known = [n \in Ids |-> (IF n \in First THEN First ELSE Ids \ First) \ {n}]
    /\ through = [n \in Ids |-> None]
    /\ ends = 0

Table(n) == known[n] \cup {n}

Least(set) == CHOOSE x \in set : \A y \in set : x <= y

\* Which of two tables is that of the ring that gives way.
GivesWay(ours, theirs) ==
    \/ Cardinality(ours) < Cardinality(theirs)
    \/ Cardinality(ours) = Cardinality(theirs) /\ Least(ours) > Least(theirs)

\* The larger one must also have as many members that answer as ours shows us.
Answering(n, m) == Cardinality({x \in Table(m) : ring[x] = ring[m]}) >= Cardinality(Table(n))

Meet(n, m) ==
    /\ {n, m} \subseteq member /\ ring[n] # ring[m]
    /\ IF Broken = "gives way to any" THEN TRUE ELSE GivesWay(Table(n), Table(m))
    /\ known[n] = {} \/ Answering(n, m) \/ Broken = "gives way to any"
    /\ ring' = [ring EXCEPT ![n] = "joining"]
    /\ known' = [known EXCEPT ![n] = {}]
    /\ through' = [through EXCEPT ![n] = m]
    /\ UNCHANGED ends

\* It joins the ring of whom it met, if that one is a member still, else that of any member.
Join(n, m) ==
    /\ ring[n] = "joining" /\ m \in member
    /\ through[n] = m \/ through[n] \notin member
    /\ ring' = [ring EXCEPT ![n] = ring[m]]
    /\ known' = [x \in Ids |->
            IF x = n THEN Ring(ring[m]) ELSE IF ring[x] = ring[m] THEN known[x] \cup {n} ELSE known[x]]
    /\ through' = [through EXCEPT ![n] = None]
    /\ UNCHANGED ends

\* Where nobody is a member any more, whoever may begin a ring does: n, and all others are to join it.
Begin(n) ==
    /\ ring[n] = "joining" /\ member = {}
    /\ ring' = [ring EXCEPT ![n] = "first"]
    /\ through' = [through EXCEPT ![n] = None]
    /\ UNCHANGED <<known, ends>>

\* A member notices that another is no member of its ring.
Notice(n, x) ==
    /\ n \in member /\ x \in known[n] /\ ring[x] # ring[n]
    /\ known' = [known EXCEPT ![n] = @ \ {x}]
    /\ UNCHANGED <<ring, through, ends>>

End(n) ==
    /\ ends < Ends /\ n \in member
    /\ ring' = [ring EXCEPT ![n] = "gone"]
    /\ known' = [known EXCEPT ![n] = {}]
    /\ ends' = ends + 1
    /\ UNCHANGED through

Next ==
    \E n \in Ids : End(n) \/ Begin(n) \/ \E m \in Ids : Meet(n, m) \/ Join(n, m) \/ Notice(n, m)

Spec ==
    /\ Init /\ [][Next]_vars
    /\ \A n \in Ids :
        /\ WF_vars(Begin(n)) /\ WF_vars(\E x \in Ids : Notice(n, x))
        /\ SF_vars(\E m \in Ids : Meet(n, m)) /\ SF_vars(\E m \in Ids : Join(n, m))

TypeOk == \A n \in Ids : known[n] \subseteq Ids \ {n} /\ (ring[n] = "joining" => known[n] = {})

\* The rings become one, of all that live, and stay so.
BecomeOne ==
    <>[](/\ Ring("joining") = {} /\ (Ring("first") = {} \/ Ring("second") = {})
         /\ \A n \in member : known[n] = member \ {n})

\* While nobody ends, a ring is never dissolved on both sides: somebody is a member throughout.
SomebodyStays == member # {} \/ ends > 0
=============================================================================
