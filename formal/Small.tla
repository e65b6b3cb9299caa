-------------------------------- MODULE Small -------------------------------
(***************************************************************************)
(* Small rings: lists that close, and the switch to ordinary ones and back *)
(* (chordtwist/core/small_ring.py, node/ring/announcing.py, admission.py,  *)
(* member_checks.py).  In a small ring a newcomer announces itself to all  *)
(* members, which take it in one after another, and goes live when all of  *)
(* them have; a member has at most one newcomer in hand.                   *)
(*                                                                         *)
(* Steps are atomic; the second word of a newcomer, that it is live, is    *)
(* heard later by each.  A newcomer that waits too long is not modelled:   *)
(* it withdraws, or crashes and is dropped.  Whoever stabilizes notifies   *)
(* at once.                                                                *)
(***************************************************************************)
EXTENDS Circle, TLC

CONSTANTS
    R,
    First,
    Close,    \* lists close when they have no more than so many entries: closing_max
    Joins,    \* so many times somebody begins to join,
    Ends,     \* and so many times a member ends
    Depth,    \* no more steps than so many are looked at
    Broken

WholeMax == 2 * R

VARIABLES
    member, succ, pred,
    whole,    \* whether the list closes
    knew,     \* whether it closed when it was last written, but for deaths
    hand,     \* the newcomer in hand, or None: until it has gone live, withdrawn, or been dropped
    marks,    \* newcomers in the list that are not shown: nobody has been seen to show them either
    joining,  \* {} or one record
    linked,   \* members that have been somebody's head
    joins, ends

vars == <<member, succ, pred, whole, knew, hand, marks, joining, linked, joins, ends>>

Ideally == Cardinality(First) - 1 <= WholeMax

Init ==
    /\ member = First
    /\ succ = [n \in Ids |-> IF n \in First THEN Cut(n, First \ {n}, IF Ideally THEN WholeMax ELSE R) ELSE {}]
    /\ pred = [n \in Ids |-> IF n \in First /\ First # {n} THEN Last(n, First \ {n}) ELSE None]
    /\ whole = [n \in Ids |-> n \in First /\ Ideally]
    /\ knew = whole
    /\ hand = [n \in Ids |-> None]
    /\ marks = [n \in Ids |-> {}]
    /\ joining = [n \in Ids |-> {}]
    /\ linked = First
    /\ joins = 0 /\ ends = 0

\* What a table shows: no newcomers, but by a ring of one.
Shown(n) == IF succ[n] \subseteq marks[n] THEN succ[n] ELSE succ[n] \ marks[n]

Least(set) == CHOOSE x \in set : \A y \in set : x <= y

(***************************************************************************)
(* The invariants                                                          *)
(***************************************************************************)
Skipped(p, members, lists) == \E m \in members : Skips(m, lists[m], whole[m], p)

Principals(members, lists) == {p \in linked \cap members : ~Skipped(p, members, lists)}

Smaller(a, b) == IF a < b THEN a ELSE b

OneLiveSuccessor == member = {} \/ Cardinality(member) = 1 \/ \A m \in member : succ[m] \cap member # {}

SufficientPrincipals ==
    Cardinality(Principals(member, succ)) >= Smaller(Cardinality(linked \cap member), R + 1)

WellFormed ==
    \A n \in Ids :
        /\ n \notin succ[n] /\ Cardinality(succ[n]) <= WholeMax + 1
        /\ whole[n] => Cardinality(succ[n]) <= WholeMax
        /\ marks[n] \subseteq succ[n]

(***************************************************************************)
(* Writing a list, as core/routing.py does.  `heads' are linked from then  *)
(* on.                                                                     *)
(***************************************************************************)
Link(members, lists) ==
    linked' = (linked \cup {Head(m, lists[m]) : m \in {k \in members : lists[k] # {}}}) \cap members

Write(n, list, closes, known, left) ==
    /\ succ' = [succ EXCEPT ![n] = list]
    /\ whole' = [whole EXCEPT ![n] = closes]
    /\ knew' = [knew EXCEPT ![n] = known]
    /\ marks' = [marks EXCEPT ![n] = left \cap list]
    /\ Link(member, succ')

(***************************************************************************)
(* join                                                                    *)
(***************************************************************************)
Find(j) ==
    /\ joins < Joins /\ j \notin member /\ joining[j] = {}
    /\ \E m \in member :
        /\ IF succ[m] = {} THEN TRUE ELSE LET h == Head(m, succ[m]) IN h = j \/ Between(m, j, h)
        /\ \/ /\ whole[m] \/ Broken = "announces to nobody"
              /\ joining' = [joining EXCEPT ![j] =
                    {[kind |-> "small", heard |-> ({m} \cup Shown(m)) \ {j}, told |-> {}, sure |-> {}, before |-> m, list |-> Shown(m)]}]
           \/ /\ ~whole[m] /\ Cardinality(Shown(m)) >= R /\ j \notin Shown(m)
              /\ Cardinality(member) >= Close + 2
              /\ joining' = [joining EXCEPT ![j] =
                    {[kind |-> "large", heard |-> {}, told |-> {}, sure |-> {}, before |-> m, list |-> Shown(m)]}]
    /\ joins' = joins + 1
    /\ UNCHANGED <<member, succ, pred, whole, knew, hand, marks, linked, ends>>

\* A member takes a newcomer in, and tells whom it knows.  The one with the smallest id comes first.  When all have, each
\* is asked once more: one that restarted meanwhile, and came back before the newcomer had the hands of the others, takes
\* it in now.
TakeIn(m, j) ==
    /\ m \in member /\ hand[m] \in {None, j}
    /\ \E now \in joining[j] :
        LET again == now.heard \subseteq now.told
            \* Taking it in may have ended wholeness, and the next copy have cut it off.
            kept == again /\ hand[m] = j /\ (j \in succ[m] \/ ~whole[m])
        IN
        /\ kept \/ whole[m]
        /\ now.kind = "small" /\ m \in now.heard /\ (IF again THEN m \notin now.sure ELSE m \notin now.told)
        /\ now.told = {} => m = Least((now.heard \cup succ[m]) \ {j})
        /\ joining' = [joining EXCEPT ![j] =
              {[now EXCEPT !.heard = IF again THEN @ ELSE (@ \cup succ[m] \cup {m}) \ {j},
                           !.told = @ \cup {m}, !.sure = IF again THEN @ \cup {m} ELSE @]}]
        /\ IF kept THEN UNCHANGED <<succ, whole, knew, marks, linked>>
           ELSE LET list == succ[m] \cup {j} IN
            Write(m, list, Cardinality(list) <= WholeMax, Cardinality(list) <= WholeMax, marks[m] \cup {j})
    /\ hand' = [hand EXCEPT ![m] = j]
    /\ UNCHANGED <<member, pred, joins, ends>>

Live(j, list, closes, before) ==
    /\ member' = member \cup {j}
    /\ succ' = [succ EXCEPT ![j] = list]
    /\ whole' = [whole EXCEPT ![j] = closes]
    /\ knew' = [knew EXCEPT ![j] = closes]
    /\ pred' = [pred EXCEPT ![j] = before]
    /\ joining' = [joining EXCEPT ![j] = {}]
    /\ Link(member', succ')
    /\ UNCHANGED <<hand, marks, joins, ends>>

\* All have taken it in, twice, and the member before it names nobody whom it has not told.
GoLive(j) ==
    \E now \in joining[j] :
        /\ now.kind = "small"
        /\ \/ now.heard \subseteq now.sure
           \/ (now.heard \subseteq now.told /\ Broken = "counts on a first answer")
           \/ Broken = "announces to nobody"
        /\ LET all == now.heard
               p == Last(j, all)
               fits == Cardinality(all) <= WholeMax
           IN  /\ p \in member
               /\ Broken # "announces to nobody" =>
                    (fits => whole[p]) /\ (Shown(p) \cup {p}) \ {j} \subseteq all
               /\ Live(j, IF fits THEN all ELSE Cut(j, all, R), fits, p)

\* By the rules of a large ring: it reads the list before it again.
GoLiveLarge(j) ==
    \E now \in joining[j] :
        /\ now.kind = "large"
        /\ now.before \in member /\ ~whole[now.before] /\ Shown(now.before) = now.list
        /\ Live(j, Cut(j, now.list, R), FALSE, now.before)

\* It withdraws, and all whom it told take it back; or it crashes, and stays in lists until it is dropped.
GiveUp(j) ==
    /\ joining[j] # {} /\ joining' = [joining EXCEPT ![j] = {}]
    /\ \/ /\ succ' = [n \in Ids |-> IF j \in marks[n] THEN succ[n] \ {j} ELSE succ[n]]
          /\ marks' = [n \in Ids |-> marks[n] \ {j}]
          /\ hand' = [n \in Ids |-> IF hand[n] = j THEN None ELSE hand[n]]
       \/ UNCHANGED <<succ, hand, marks>>
    /\ Link(member, succ')
    /\ UNCHANGED <<member, pred, whole, knew, joins, ends>>

Free(n, j) == hand' = IF hand[n] = j THEN [hand EXCEPT ![n] = None] ELSE hand

HearLive(n, j) ==
    /\ n \in member /\ (j \in marks[n] \/ hand[n] = j) /\ j \in member
    /\ marks' = [marks EXCEPT ![n] = @ \ {j}]
    /\ Free(n, j)
    /\ UNCHANGED <<member, succ, pred, whole, knew, joining, linked, joins, ends>>

\* A live member that a whole list lacks says so, since its head's list lacks it.
MeetLive(n, x) ==
    /\ {n, x} \subseteq member /\ n # x /\ whole[n] /\ x \notin succ[n]
    /\ succ[x] # {} /\ whole[x] /\ LET h == Head(x, succ[x]) IN h \in member /\ whole[h] /\ x \notin Shown(h)
    /\ LET list == succ[n] \cup {x} IN
        Write(n, list, Cardinality(list) <= WholeMax, Cardinality(list) <= WholeMax, marks[n])
    /\ UNCHANGED <<member, pred, hand, joining, joins, ends>>

(***************************************************************************)
(* stabilize                                                               *)
(***************************************************************************)

\* Whoever answers as a member, of all that n or the head e name, and its own entries that are not known to be gone:
\* they are silent, or join and were taken in here.
Everybody(n, e) ==
    LET ours == {x \in succ[n] : x \in member \/ joining[x] = {} \/ \E now \in joining[x] : n \in now.told}
        theirs == ({e} \cup Shown(e) \cup ({pred[n]} \cap Ids)) \cap member
    IN  (ours \cup theirs) \ {n}

\* What n has of the table of e.
Copy(n, e) ==
    LET named == {e} \cup Behind(n, e, Shown(e))
        comes == whole[e] \/ n \in Shown(e)
        closes == comes /\ Cardinality(named) <= WholeMax
        all == Everybody(n, e)
        fits == closes /\ Cardinality(all) <= WholeMax
        kept == IF knew[n] THEN WholeMax ELSE R
        list == IF fits THEN all ELSE Cut(n, IF closes THEN all ELSE named, kept)
        end == Last(n, Cut(n, named, R))
        round == Cut(n, named, R) \cup Behind(n, end, Shown(end))
        looks == ~closes /\ pred[e] = n /\ end \in member /\ n \in Shown(end) /\ Cardinality(round) <= Close
    IN  \/ ~looks /\ Write(n, list, fits, fits, marks[n] \ ({e} \cup Shown(e)))
        \/ looks /\ Write(n, round \cup marks[n], TRUE, TRUE, marks[n] \ {e})

Notify(n, h) ==
    pred' = IF h # n /\ (pred[h] \notin member \/ Between(pred[h], n, h)) THEN [pred EXCEPT ![h] = n] ELSE pred

\* Where the head's table leaves a list open, one that most other entries contradict is copied in its place: those whose
\* lists are whole, and name us.
SaysWhole(e, n) == e \in member /\ whole[e] /\ n \in Shown(e)

MostSayWhole(n, h) ==
    LET others == succ[n] \ {h} IN
    /\ ~whole[h] /\ n \notin Shown(h)
    /\ 2 * Cardinality({e \in others : SaysWhole(e, n)}) > Cardinality(others)

Stabilize(n) ==
    /\ n \in member /\ succ[n] # {}
    /\ LET h == Head(n, succ[n]) IN
        /\ h \in member
        /\ \/ Copy(n, h)
           \/ (IF pred[h] \in member THEN Between(n, pred[h], h) ELSE FALSE) /\ Copy(n, pred[h])
           \/ \E e \in succ[n] \cap member : e # h /\ MostSayWhole(n, h) /\ SaysWhole(e, n) /\ Copy(n, e)
        /\ Notify(n, Head(n, succ'[n]))
        /\ Free(n, h)
    /\ UNCHANGED <<member, joining, joins, ends>>

\* Death, a leave, or a newcomer that has crashed.
Drop(n, x) ==
    /\ n \in member /\ x \in succ[n] /\ x \notin member /\ joining[x] = {}
    /\ LET list == succ[n] \ {x}
           alone == list = {} /\ (whole[n] \/ knew[n])
       IN Write(n, list, alone, alone \/ whole[n] \/ knew[n], marks[n])
    /\ pred' = IF succ'[n] = {} /\ whole'[n] THEN [pred EXCEPT ![n] = None] ELSE pred
    /\ Free(n, x)
    /\ UNCHANGED <<member, joining, joins, ends>>

Bearable(rest) ==
    /\ rest # {}
    /\ Cardinality(rest) = 1 \/ \A m \in rest : succ[m] \cap rest # {}
    /\ LET relying == {m \in rest \ linked : ~whole[m]} IN
        Cardinality(Principals(rest, succ)) >= Smaller(Cardinality(linked \cap rest) + Cardinality(relying), R + 1)

End(n) ==
    /\ ends < Ends /\ n \in member /\ Bearable(member \ {n})
    /\ member' = member \ {n}
    /\ succ' = [succ EXCEPT ![n] = {}]
    /\ whole' = [whole EXCEPT ![n] = FALSE]
    /\ knew' = [knew EXCEPT ![n] = FALSE]
    /\ marks' = [marks EXCEPT ![n] = {}]
    /\ hand' = [hand EXCEPT ![n] = None]
    /\ pred' = [pred EXCEPT ![n] = None]
    /\ linked' = linked \ {n}
    /\ ends' = ends + 1
    /\ UNCHANGED <<joining, joins>>

Next ==
    \E n \in Ids :
        \/ Find(n) \/ GoLive(n) \/ GoLiveLarge(n) \/ GiveUp(n) \/ Stabilize(n) \/ End(n)
        \/ \E m \in Ids : TakeIn(n, m) \/ HearLive(n, m) \/ MeetLive(n, m) \/ Drop(n, m)

Spec == Init /\ [][Next]_vars

Bounded == TLCGet("level") <= Depth
=============================================================================
