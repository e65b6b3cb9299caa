------------------------------- MODULE Traced -------------------------------
(***************************************************************************)
(* Whether what running nodes did is what the rules allow: each step of a  *)
(* trace (chordtwist/node/ring/ring_trace.py) has to be an action of       *)
(* Ring.tla or Small.tla, or several of one node taken together.  A table  *)
(* that was shown may arrive up to `LateMs' later, and what is known of    *)
(* others is as old.  All traces that are Given are looked at in one run,  *)
(* each as a behaviour of its own; a step that no action explains has no   *)
(* successor, which TLC reports as a deadlock, at that step.               *)
(*                                                                         *)
(* The values of every step are given, so nothing is searched for: a step  *)
(* is judged by what the actions say of the state before and behind it     *)
(* (`= TRUE' has TLC take that for one value, not for several ways on).    *)
(***************************************************************************)
EXTENDS Circle, Sequences, TLC, Given

CONSTANTS R, LateMs, Misjudges  \* whether a live node may be judged dead: where the network itself is broken

VARIABLES
    trace, line,
    up,       \* nodes whose process runs
    member, succ, pred, whole,
    shown,    \* of each, its lists of the last while: [list, whole, until]
    since,    \* when each became a member, or was one for the last time
    begun     \* when each process was started, or ended

vars == <<trace, line, up, member, succ, pred, whole, shown, since, begun>>

Now == Given[trace][line].at

Init ==
    /\ trace \in 1 .. Len(Given) /\ line = 1
    /\ up = {} /\ member = {}
    /\ succ = [n \in Ids |-> {}] /\ pred = [n \in Ids |-> None] /\ whole = [n \in Ids |-> FALSE]
    /\ shown = [n \in Ids |-> {}]
    /\ since = [n \in Ids |-> -LateMs - 1] /\ begun = [n \in Ids |-> -LateMs - 1]

Lately(at) == Now - at <= LateMs

\* As somebody knows it whose knowledge may be `LateMs' old.
MaybeMember(x) == IF x \in member THEN TRUE ELSE Lately(since[x])
MaybeNone(x) == IF x \in member THEN Lately(since[x]) ELSE TRUE
MaybeUp(x) == x \in up \/ Lately(begun[x])

\* The tables of e that may arrive now: what it has, and what it had lately.
Tables(e) ==
    (IF e \in member THEN {[list |-> succ[e], whole |-> whole[e], until |-> Now]} ELSE {})
        \cup {t \in shown[e] : Lately(t.until)}

(***************************************************************************)
(* join: the list of the member before, in one go, with what the owner h   *)
(* names behind it, and who answers of those it names inside; in a small   *)
(* ring, of all who took it in.                                            *)
(***************************************************************************)
JoinedByBoth(n, p, h, s) ==
    \E t \in Tables(p), o \in Tables(h) :
        LET held == {x \in t.list : Dist(n, x) > Dist(n, h)} \cup {h}
            more == Behind(n, h, o.list)
            due == held \cup {x \in more : Dist(n, x) > Dist(n, Last(n, held))}
        IN  /\ s \subseteq held \cup more /\ Cardinality(s) <= R
            /\ \A x \in due : x \in s \/ (Cardinality(s) = R /\ \A y \in s : Dist(n, y) < Dist(n, x))

Joined(n, p, s, w) ==
    \/ s = {} /\ p = None /\ w
    \/ /\ p \in Ids /\ MaybeMember(p)
       /\ \/ ~w /\ \E t \in Tables(p) : s = Cut(n, t.list \ {n}, R)
          \/ ~w /\ s # {} /\ JoinedByBoth(n, p, Head(n, s), s)
          \/ /\ p = Last(n, s) \/ ~w
             /\ \A m \in s : MaybeMember(m)
             /\ \A m \in s \cap member : whole[m] => n \in succ[m] \/ Lately(since[m])
             /\ w => Cardinality(s) <= 2 * R
             /\ ~w => Cardinality(s) = R

(***************************************************************************)
(* Removals.  Drop: it died, left, or is no member of this ring; or it is  *)
(* cut off the end of a list that is full.                                 *)
(***************************************************************************)
Removed(n, x, s, w, gone) ==
    \/ MaybeNone(x)
    \/ x \in gone /\ Misjudges
    \/ ~w /\ Cardinality(s) >= R /\ \A y \in s : Dist(n, y) < Dist(n, x)

(***************************************************************************)
(* Additions.  Unions of Ring.tla: what the table of e names inside the    *)
(* span, and behind the end only as long as nobody is passed over who may  *)
(* live.  Take-in, whole lists and closing of Small.tla: whoever runs.     *)
(***************************************************************************)
ByUnion(n, e, t, added, s) ==
    LET own == succ[n] \cup {e}
        named == Behind(n, e, t.list)
        end == Last(n, own)
    IN  /\ added \subseteq named \cup {e}
        /\ \A x \in added : Dist(n, x) > Dist(n, end) =>
              \A y \in named \ own : Dist(n, y) < Dist(n, x) => y \in s \/ MaybeNone(y) \/ Misjudges

\* The dead may be named for longer: each member finds that out by itself, and meanwhile others take the name over.
Named(x, entries) == \E e \in entries : \E t \in Tables(e) : x \in t.list

Added(n, added, s, w) ==
    \/ added = {}
    \/ /\ \A x \in added : MaybeUp(x) \/ Named(x, s \cup succ[n])
       /\ \/ whole[n] \/ w
          \* A copy of a whole list, with those of ours that it lacks, may be too long for one.
          \/ \E e \in s \cup succ[n] : \E t \in Tables(e) : t.whole /\ added \subseteq t.list \cup {e}
          \/ \E e \in s \cup succ[n] : MaybeMember(e) /\ \E t \in Tables(e) : ByUnion(n, e, t, added, s)

\* A list closes by that of its head, or of its last entry, which comes round, or since it was whole before.
Closes(n, s, w) ==
    w => /\ Cardinality(s) <= 2 * R
         /\ whole[n] \/ s = {} \/ \E e \in s : \E t \in Tables(e) : t.whole \/ n \in t.list

\* rectify
Preceded(n, p, s, w, gone) ==
    \/ p = pred[n]
    \/ p = None /\ s = {} /\ w
    \/ /\ p \in Ids /\ MaybeMember(p)
       /\ pred[n] = None \/ Between(pred[n], p, n) \/ MaybeNone(pred[n]) \/ (pred[n] \in gone /\ Misjudges)

Changed(n, p, s, w, gone) ==
    /\ n \in member /\ n \notin s
    /\ ~w => Cardinality(s) <= 2 * R + 1
    /\ \A x \in succ[n] \ s : Removed(n, x, s, w, gone)
    /\ Added(n, s \ succ[n], s, w)
    /\ Closes(n, s, w)
    /\ Preceded(n, p, s, w, gone)

Aged(n, tables) ==
    {t \in tables : Lately(t.until)} \cup {[list |-> succ[n], whole |-> whole[n], until |-> Now]}

Become(n, p, s, w) ==
    /\ succ' = [succ EXCEPT ![n] = s]
    /\ pred' = [pred EXCEPT ![n] = p]
    /\ whole' = [whole EXCEPT ![n] = w]

\* It is a member no more, and shows no table.
Out(n) ==
    /\ member' = member \ {n}
    /\ since' = IF n \in member THEN [since EXCEPT ![n] = Now] ELSE since
    /\ shown' = IF n \in member THEN [shown EXCEPT ![n] = Aged(n, @)] ELSE shown
    /\ Become(n, None, {}, FALSE)

Step ==
    LET step == Given[trace][line]
        n == step.node
    IN  /\ CASE step.action = "start" ->
                   /\ n \notin up /\ up' = up \cup {n} /\ begun' = [begun EXCEPT ![n] = Now]
                   /\ UNCHANGED <<member, succ, pred, whole, shown, since>>
             [] step.action = "end" ->
                   /\ n \in up /\ up' = up \ {n} /\ begun' = [begun EXCEPT ![n] = Now] /\ Out(n)
             [] step.action = "out" -> n \in member /\ Out(n) /\ UNCHANGED <<up, begun>>
             [] step.action = "live" ->
                   /\ n \in up \ member /\ Joined(n, step.pred, step.succ, step.whole) = TRUE
                   /\ member' = member \cup {n} /\ since' = [since EXCEPT ![n] = Now]
                   /\ Become(n, step.pred, step.succ, step.whole)
                   /\ UNCHANGED <<up, shown, begun>>
             [] step.action = "changed" ->
                   /\ Changed(n, step.pred, step.succ, step.whole, step.gone) = TRUE
                   /\ shown' = [shown EXCEPT ![n] = Aged(n, @)]
                   /\ Become(n, step.pred, step.succ, step.whole)
                   /\ UNCHANGED <<up, member, since, begun>>

Next ==
    \/ line <= Len(Given[trace]) /\ Step /\ line' = line + 1 /\ UNCHANGED trace
    \/ line > Len(Given[trace]) /\ UNCHANGED vars

Spec == Init /\ [][Next]_vars
=============================================================================
