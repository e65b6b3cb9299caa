-------------------------------- MODULE Ring --------------------------------
(***************************************************************************)
(* A ring of more members than a list has entries: join, stabilize,        *)
(* rectify, leave and death, as chordtwist/node/ring and core/routing.py   *)
(* have them (corrected Chord; P. Zave, IEEE TSE 43(12), 2017), with the   *)
(* copy of the proof ("plain"), with insertions by announcements on top of *)
(* it ("insertion"), and with lists by union, as the code has them         *)
(* ("union").                                                              *)
(*                                                                         *)
(* Every step has read one other node's table and writes only one's own    *)
(* state.  What stands between reading and writing is modelled for at most *)
(* `Late' nodes at a time: an answer in flight may be as old as it likes.  *)
(* With Late = 0 a table is read and used in one step.                     *)
(*                                                                         *)
(* Leaving and dying are one action, End: both end with nobody answering   *)
(* as a member at that address, and with every list that names it dropping *)
(* it.  An address that ended may join again; as another run it knows      *)
(* nothing of the one before.                                              *)
(*                                                                         *)
(* With Hints any member may make itself known to any other at any moment  *)
(* (Announce, Changed, a Notify that was long on its way), which is more   *)
(* than the code allows.  What lists become then does not depend on        *)
(* predecessors, so that ListsOnly may be used as VIEW.  Without Hints the *)
(* only name that comes unasked is the head's predecessor.                 *)
(***************************************************************************)
EXTENDS Circle

CONSTANTS
    R,        \* entries of a list
    First,    \* the members at the beginning; the ring they form is ideal
    Rule,     \* "plain", "insertion" or "union"
    Broken,   \* a rule that is left out on purpose, or "nothing"
    Hints,
    Late,
    Slow      \* whether deaths wait for answers in flight

ASSUME R >= 2 /\ Cardinality(First) > R /\ First \subseteq Ids /\ Rule \in {"plain", "insertion", "union"}

VARIABLES
    member,   \* who is a member
    succ,     \* the list of each
    pred,     \* the predecessor of each, or None
    joining,  \* of a newcomer, what it has read of the member before it: {} or one record
    answer,   \* a table on its way to its reader: {} or one record
    shunned,  \* names that were silent once; only where Broken keeps them
    quiet     \* from now on nobody joins and nobody ends

vars == <<member, succ, pred, joining, answer, shunned, quiet>>

ListsOnly == <<member, succ, joining, answer, shunned, quiet>>

Ideal(members, n) == Cut(n, members \ {n}, R)

Init ==
    /\ member = First
    /\ succ = [n \in Ids |-> IF n \in First THEN Ideal(First, n) ELSE {}]
    /\ pred = [n \in Ids |-> IF n \in First THEN Last(n, First \ {n}) ELSE None]
    /\ joining = [n \in Ids |-> {}]
    /\ answer = [n \in Ids |-> {}]
    /\ shunned = [n \in Ids |-> {}]
    /\ quiet = FALSE

InFlight == Cardinality({n \in Ids : answer[n] # {} \/ \E read \in joining[n] : read.twice})

(***************************************************************************)
(* The invariants, of any members and lists.                               *)
(***************************************************************************)
PrincipalsOf(members, lists) ==
    {p \in members : \A m \in members : ~Skips(m, lists[m], FALSE, p)}

OneLiveSuccessorOf(members, lists) == \A m \in members : lists[m] \cap members # {}

OneLiveSuccessor == OneLiveSuccessorOf(member, succ)

SufficientPrincipals == Cardinality(PrincipalsOf(member, succ)) >= R + 1

FirstLiving ==
    [m \in member |-> LET live == succ[m] \cap member IN IF live = {} THEN None ELSE Head(m, live)]

\* What the two imply.  Where an appendage merges they say nothing: it may pass over a member for a while.
OneOrderedRing ==
    LET next == FirstLiving IN
    AtLeastOneRingOf(next) /\ AtMostOneRingOf(next) /\ OrderedRingOf(next) /\ ConnectedAppendagesOf(next)

WellFormed ==
    \A n \in Ids : n \notin succ[n] /\ Cardinality(succ[n]) <= R /\ (n \notin member => succ[n] = {})

IsIdeal ==
    \A m \in member : succ[m] = Ideal(member, m) /\ pred[m] = Last(m, member \ {m})

(***************************************************************************)
(* join                                                                    *)
(***************************************************************************)

\* The owner of the newcomer's place says that the place is its to give.
Admits(h, j) == h \in member /\ (Hints \/ pred[h] \notin Ids \/ Between(pred[h], j, h))

\* Whom the owner of the place names besides.  What of that answers comes in by the union rule, as from any table.
OwnersNames(m) == IF Broken = "joins by any name" THEN succ[Head(m, succ[m])] ELSE {}

\* Its first read: of the member before its place, as the lookup found it.
Read(j) ==
    /\ ~quiet /\ j \notin member /\ joining[j] = {}
    /\ \E m \in member :
        /\ Cardinality(succ[m]) = R
        /\ Between(m, j, Head(m, succ[m])) /\ Admits(Head(m, succ[m]), j)
        /\ joining' = [joining EXCEPT ![j] =
            {[before |-> m, list |-> succ[m], more |-> OwnersNames(m), twice |-> FALSE]}]
    /\ UNCHANGED <<member, succ, pred, answer, shunned, quiet>>

GoLive(j, read) ==
    /\ member' = member \cup {j}
    /\ succ' = [succ EXCEPT ![j] = Cut(j, (read.list \cup read.more) \ {j}, R)]
    /\ pred' = [pred EXCEPT ![j] = read.before]
    /\ joining' = [joining EXCEPT ![j] = {}]

StartOver(j) == joining' = [joining EXCEPT ![j] = {}] /\ UNCHANGED <<member, succ, pred>>

\* Its second read; unless the list is the same it starts over.  `Late': the answer may still be on its way.
ReadAgain(j) ==
    /\ \E read \in joining[j] :
        /\ ~read.twice
        /\ IF Broken = "reads once" THEN GoLive(j, read)
           ELSE IF read.before \notin member \/ succ[read.before] # read.list THEN StartOver(j)
           ELSE GoLive(j, read)
    /\ UNCHANGED <<answer, shunned, quiet>>

ReadAgainLate(j) ==
    /\ InFlight < Late /\ Broken # "reads once"
    /\ \E read \in joining[j] :
        /\ ~read.twice /\ read.before \in member /\ succ[read.before] = read.list
        /\ joining' = [joining EXCEPT ![j] = {[read EXCEPT !.twice = TRUE]}]
    /\ UNCHANGED <<member, succ, pred, answer, shunned, quiet>>

SecondReadArrives(j) ==
    /\ \E read \in joining[j] : read.twice /\ GoLive(j, read)
    /\ UNCHANGED <<answer, shunned, quiet>>

(***************************************************************************)
(* stabilize                                                               *)
(***************************************************************************)

\* Whom n may ask for a table.  Lists by union: any entry in turn, and whoever announced itself from inside the span.
\* The plain copy: the head, and somebody closer of whom it was told.
Asked(n) ==
    LET own == succ[n]
        head == Head(n, own)
        told(x) == Hints \/ (head \in member /\ x = pred[head])
    IN  IF own = {} THEN {}
        ELSE {x \in member :
            \/ x = head
            \/ (Between(n, x, head) /\ told(x))
            \/ (Rule = "union" /\ (x \in own \/ (Hints /\ InSpan(n, x, own))))
            \/ (Broken = "takes another's list" /\ x \in own)}

Plain(n, e, list) == Cut(n, {e} \cup Behind(n, e, list), R)

(***************************************************************************)
(* What the union rule may make of a table of e: every own entry stays;    *)
(* of the names inside the span those that answered to a dial are in, and  *)
(* that may wait; behind the end a name is passed over only when a dial of *)
(* this hearing found it silent.  A name that died after its answer may be *)
(* in as well.                                                             *)
(***************************************************************************)
Unions(n, e, list, silent) ==
    LET own == succ[n] \cup {e}
        dropped == IF Broken = "drops what the head lacks" /\ e = Head(n, own) THEN own \ (list \cup {e}) ELSE {}
        named == Behind(n, e, list) \ own
        inside == {x \in named : InSpan(n, x, succ[n])}
        behind == named \ inside
        passed == silent \cup shunned[n]
        anyhow == Broken = "inserts behind the end"
        takes(some) == \A x \in some \cap behind, y \in behind : Dist(n, y) < Dist(n, x) => y \in some \cup passed
        kept == {own} \cup {own \ {x} : x \in dropped}
    IN  {Cut(n, mine \cup some, R) : mine \in kept, some \in {names \in SUBSET named : takes(names) \/ anyhow}}

\* The same where nothing is put off: what fairness may count on.
Union(n, e, list) == Cut(n, succ[n] \cup {e} \cup (Behind(n, e, list) \cap member), R)

Outcomes(n, e, list, silent) ==
    IF Rule = "union" /\ Broken # "takes another's list" THEN Unions(n, e, list, silent) ELSE {Plain(n, e, list)}

Become(n, list) == succ' = [succ EXCEPT ![n] = list]

Shun(n, list) ==
    shunned' = IF Broken = "filters the silent" THEN [shunned EXCEPT ![n] = (@ \cup (list \ member)) \ succ'[n]] ELSE shunned

\* A round: a table is asked for and used.
Stabilize(n) ==
    /\ n \in member /\ answer[n] = {}
    /\ \E e \in Asked(n) : \E list \in Outcomes(n, e, succ[e], succ[e] \ member) : Become(n, list) /\ Shun(n, succ[e])
    /\ UNCHANGED <<member, pred, joining, answer, quiet>>

\* A round from which nothing is put off.
StabilizeFully(n) ==
    /\ n \in member /\ answer[n] = {}
    /\ \E e \in Asked(n) :
        Become(n, IF Rule = "union" THEN Union(n, e, succ[e]) ELSE Plain(n, e, succ[e])) /\ Shun(n, succ[e])
    /\ UNCHANGED <<member, pred, joining, answer, quiet>>

Ask(n) ==
    /\ n \in member /\ answer[n] = {} /\ InFlight < Late
    /\ \E e \in Asked(n) :
        answer' = [answer EXCEPT ![n] = {[of |-> e, list |-> succ[e], silent |-> succ[e] \ member]}]
    /\ UNCHANGED <<member, succ, pred, joining, shunned, quiet>>

\* Whom it may pass over: who was silent when the table was asked for, and is silent still.
Silent(read) == IF Broken = "believes any silence" THEN read.silent ELSE read.silent \ member

\* It counts as long as the one asked is still the head, comes before it, or is inside the span.
Arrives(n) ==
    /\ \E read \in answer[n] :
        LET e == read.of
            own == succ[n]
            counts ==
                /\ own # {}
                /\ \/ e = Head(n, own)
                   \/ Between(n, e, Head(n, own))
                   \/ (Rule = "union" /\ (e \in own \/ InSpan(n, e, own)))
        IN  IF counts
            THEN \E list \in Outcomes(n, e, read.list, Silent(read)) : Become(n, list)
            ELSE UNCHANGED succ
    /\ answer' = [answer EXCEPT ![n] = {}]
    /\ UNCHANGED <<member, pred, joining, shunned, quiet>>

\* Whoever announced itself from inside the span, and was reached.
Insert(n) ==
    /\ Rule = "insertion" /\ n \in member
    /\ \E x \in member : InSpan(n, x, succ[n]) /\ Become(n, Cut(n, succ[n] \cup {x}, R))
    /\ UNCHANGED <<member, pred, joining, answer, shunned, quiet>>

(***************************************************************************)
(* rectify, death                                                          *)
(***************************************************************************)
Rectify(n, notifier) ==
    /\ {n, notifier} \subseteq member /\ n # notifier /\ Broken # "never notifies"
    /\ Hints \/ notifier \in {m \in member : succ[m] # {} /\ Head(m, succ[m]) = n}
    /\ \/ pred[n] \notin member
       \/ Between(pred[n], notifier, n)
    /\ pred' = [pred EXCEPT ![n] = notifier]
    /\ UNCHANGED <<member, succ, joining, answer, shunned, quiet>>

\* Nobody answers there as a member: the list gets shorter.
Drop(n, dead) ==
    /\ n \in member /\ dead \in succ[n]
    /\ dead \notin member \/ Broken = "misjudges"
    /\ IF Broken = "tops up"
       THEN \E x \in (member \ succ[n]) \ {n} :
            ~InSpan(n, x, succ[n]) /\ Become(n, (succ[n] \ {dead}) \cup {x})
       ELSE Become(n, succ[n] \ {dead})
    /\ shunned' = IF Broken = "filters the silent" THEN [shunned EXCEPT ![n] = @ \cup {dead}] ELSE shunned
    /\ UNCHANGED <<member, pred, joining, answer, quiet>>

(***************************************************************************)
(* The assumption of the proof: no failure takes the last living entry of  *)
(* a list, nor one of the last R + 1 principals.  What is on its way       *)
(* counts: for the first the list that comes of it, since nobody can know  *)
(* yet ("one burst"); for the second, when `Slow', a table as its owner    *)
(* showed it, which may be older than a newcomer.                          *)
(***************************************************************************)
ToCome(n) ==
    UNION {Outcomes(n, read.of, read.list, Silent(read)) : read \in answer[n]}
        \cup {read.list : read \in {some \in joining[n] : some.twice}}

Hidden(p) ==
    \E n \in Ids :
        \/ \E read \in answer[n] : Skips(read.of, read.list, FALSE, p)
        \/ \E read \in joining[n] : read.twice /\ Skips(n, read.list, FALSE, p)

Bearable(rest) ==
    /\ OneLiveSuccessorOf(rest, succ)
    /\ \A n \in rest \cup {j \in Ids : joining[j] # {}} : \A list \in ToCome(n) : list \cap rest # {}
    /\ Cardinality({p \in PrincipalsOf(rest, succ) : ~(Slow /\ Hidden(p))}) >= R + 1

\* Who falls silent while a table is on its way is passed over by the next one.
Hear(dead, reads) ==
    {[read EXCEPT !.silent = IF Broken = "believes any silence" THEN @ \cup ({dead} \cap read.list) ELSE @] : read \in reads}

End(n) ==
    /\ ~quiet /\ n \in member /\ Bearable(member \ {n})
    /\ member' = member \ {n}
    /\ succ' = [succ EXCEPT ![n] = {}]
    /\ pred' = [pred EXCEPT ![n] = None]
    /\ answer' = [m \in Ids |-> IF m = n THEN {} ELSE Hear(n, answer[m])]
    /\ shunned' = [shunned EXCEPT ![n] = {}]
    /\ UNCHANGED <<joining, quiet>>

BeQuiet == ~quiet /\ quiet' = TRUE /\ UNCHANGED <<member, succ, pred, joining, answer, shunned>>

Upkeep(n) ==
    \/ ReadAgain(n) \/ ReadAgainLate(n) \/ SecondReadArrives(n)
    \/ Stabilize(n) \/ StabilizeFully(n) \/ Ask(n) \/ Arrives(n) \/ Insert(n)
    \/ \E m \in Ids : Rectify(n, m) \/ Drop(n, m)

Next == (\E n \in Ids : Read(n) \/ End(n) \/ Upkeep(n))

Spec == Init /\ [][Next]_vars

(***************************************************************************)
(* Convergence: once it is quiet, and rounds go on, the ring becomes ideal *)
(* and stays so.                                                           *)
(***************************************************************************)
QuietSpec ==
    /\ Init /\ [][Next \/ BeQuiet]_vars
    /\ \A n \in Ids :
        /\ WF_vars(ReadAgain(n)) /\ WF_vars(SecondReadArrives(n)) /\ WF_vars(Arrives(n))
        /\ SF_vars(StabilizeFully(n) /\ succ' # succ)
        /\ \A m \in Ids : WF_vars(Rectify(n, m)) /\ WF_vars(Drop(n, m))

Converges == quiet ~> []IsIdeal
=============================================================================
