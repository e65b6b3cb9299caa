------------------------------- MODULE Epochs -------------------------------
(***************************************************************************)
(* Restarts: a member is killed and begins anew at its old address, as     *)
(* another run (epoch), before anybody has noticed.  It joins, and answers *)
(* NotMember meanwhile, or it found nobody and begins a ring of its own.   *)
(* What others make of its answers, and of words of the run before that    *)
(* are late (chordtwist/node/ring/stabilizing.py, member_checks.py,        *)
(* tables.py).  Lists have R entries and rings more members; the plain     *)
(* copy, in atomic steps.                                                  *)
(***************************************************************************)
EXTENDS Circle

CONSTANTS R, First, Runs, Broken

VARIABLES
    status,   \* of each address: "member" of our ring, "joining", "alone" in a ring of its own, or "gone"
    epoch,    \* the number of its present run, 1 and above; at most Runs
    succ,
    read,     \* of one that joins: {} or its first read
    met,      \* as which run each entry of a list was met, 0 where it was only named
    words     \* what was said unasked and is on its way: [of, epoch, to], that a run is a member no more

vars == <<status, epoch, succ, read, met, words>>

member == {n \in Ids : status[n] = "member"}

Init ==
    /\ status = [n \in Ids |-> IF n \in First THEN "member" ELSE "gone"]
    /\ epoch = [n \in Ids |-> 1]
    /\ succ = [n \in Ids |-> IF n \in First THEN Cut(n, First \ {n}, R) ELSE {}]
    /\ read = [n \in Ids |-> {}]
    /\ met = [n \in Ids |-> [m \in Ids |-> IF n \in First /\ m \in First THEN 1 ELSE 0]]
    /\ words = {}

Principals == {p \in member : \A m \in member : ~Skips(m, succ[m], FALSE, p)}

OneLiveSuccessor == \A m \in member : succ[m] \cap member # {}

SufficientPrincipals == Cardinality(Principals) >= R + 1

\* The assumption on deaths.  An entry counts as living in whatever run it is a member.
Bearable(rest) ==
    /\ \A m \in rest : succ[m] \cap rest # {}
    /\ Cardinality({p \in rest : \A m \in rest : ~Skips(m, succ[m], FALSE, p)}) >= R + 1

\* It ends; whoever leaves says so, and the words may take their time.  What comes next at its address is another run.
End(n) ==
    /\ n \in member /\ epoch[n] < Runs /\ Bearable(member \ {n})
    /\ epoch' = [epoch EXCEPT ![n] = @ + 1]
    /\ \E next \in {"gone", "joining", "alone"} : status' = [status EXCEPT ![n] = next]
    /\ succ' = [succ EXCEPT ![n] = {}]
    /\ met' = [met EXCEPT ![n] = [m \in Ids |-> 0]]
    /\ \E told \in {{}, {m \in member \ {n} : n \in succ[m]}} :
        words' = {w \in words : w.to # n} \cup {[of |-> n, epoch |-> epoch[n], to |-> m] : m \in told}
    /\ UNCHANGED read

\* A ring of one that looks for the other one joins it, as another run; so does an address that nobody has used.
JoinAfresh(n) ==
    /\ status[n] \in {"alone", "gone"} /\ (status[n] = "alone" => epoch[n] < Runs)
    /\ epoch' = [epoch EXCEPT ![n] = IF status[n] = "alone" THEN @ + 1 ELSE @]
    /\ status' = [status EXCEPT ![n] = "joining"]
    /\ UNCHANGED <<succ, read, met, words>>

\* A place held by one's own address in an older run is free, once he before it knows; he is told (NotMember).
Read(j) ==
    /\ status[j] = "joining" /\ read[j] = {}
    /\ \E m \in member :
        LET h == Head(m, succ[m]) IN
        IF h = j THEN
            /\ succ' = [succ EXCEPT ![m] = @ \ {j}] /\ met' = [met EXCEPT ![m][j] = 0]
            /\ UNCHANGED read
        ELSE
            /\ Cardinality(succ[m]) = R /\ Between(m, j, h) /\ h \in member
            /\ read' = [read EXCEPT ![j] = {[before |-> m, list |-> succ[m] \ {j}]}]
            /\ UNCHANGED <<succ, met>>
    /\ UNCHANGED <<status, epoch, words>>

GoLive(j) ==
    /\ \E first \in read[j] :
        IF first.before \in member /\ succ[first.before] = first.list
        THEN /\ status' = [status EXCEPT ![j] = "member"] /\ succ' = [succ EXCEPT ![j] = first.list]
        ELSE UNCHANGED <<status, succ>>
    /\ read' = [read EXCEPT ![j] = {}]
    /\ UNCHANGED <<epoch, met, words>>

DropFrom(n, x) == succ' = [succ EXCEPT ![n] = @ \ {x}] /\ met' = [met EXCEPT ![n][x] = 0]

(***************************************************************************)
(* A round: the head is asked.  It is silent, or no member, or answers     *)
(* from a ring of its own: it is dropped.  Otherwise its list is taken, in *)
(* whatever run it is a member, and somebody closer is asked likewise.     *)
(***************************************************************************)
Stabilize(n) ==
    /\ n \in member /\ succ[n] # {}
    /\ LET h == Head(n, succ[n])
           other == Broken = "lets another run go" /\ met[n][h] # 0 /\ met[n][h] # epoch[h]
           own == status[h] = "alone" /\ Broken # "copies a ring of its own"
       IN  IF status[h] \in {"gone", "joining"} \/ own \/ (status[h] = "member" /\ other)
           THEN DropFrom(n, h)
           ELSE \E e \in {h} \cup {m \in member : Between(n, m, h)} :
                    /\ succ' = [succ EXCEPT ![n] = Cut(n, {e} \cup Behind(n, e, succ[e]), R)]
                    /\ met' = [met EXCEPT ![n][e] = epoch[e]]
    /\ UNCHANGED <<status, epoch, read, words>>

\* An entry of the tail that answers as no member of the ring goes as well.
Drop(n, x) ==
    /\ n \in member /\ x \in succ[n] /\ x \notin member /\ (status[x] = "alone" => Broken # "copies a ring of its own")
    /\ DropFrom(n, x)
    /\ UNCHANGED <<status, epoch, read, words>>

\* A word that a run ended: it is asked whether it is a member, as another run, before the word counts.
Hear(word) ==
    /\ word \in words
    /\ words' = words \ {word}
    /\ IF word.to \in member /\ word.of \in succ[word.to]
            /\ (word.of \notin member \/ (Broken = "believes late words" /\ met[word.to][word.of] <= word.epoch))
       THEN DropFrom(word.to, word.of)
       ELSE UNCHANGED <<succ, met>>
    /\ UNCHANGED <<status, epoch, read>>

Next ==
    \/ \E n \in Ids : End(n) \/ JoinAfresh(n) \/ Read(n) \/ GoLive(n) \/ Stabilize(n) \/ \E x \in Ids : Drop(n, x)
    \/ \E word \in words : Hear(word)

Spec == Init /\ [][Next]_vars

\* Nobody drops a living member for a word of an earlier run, whether or not it has met the present one.
LateWordsAreHarmless ==
    [][\A word \in words :
        (word \notin words' /\ status'[word.to] = "member" /\ word.of \in member /\ word.of \in succ[word.to])
        => word.of \in succ'[word.to]]_vars
=============================================================================
