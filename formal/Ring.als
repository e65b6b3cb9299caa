/* One step of a ring larger than its lists, from every state that keeps the two invariants.
 *
 * Ring.tla begins with an ideal ring and goes wherever its steps lead, with few nodes. Here a state is anything that the
 * invariants allow, whether it can be reached or not, and one step follows. What keeps the invariants here keeps them for
 * ever, with so many nodes; what breaks them here may need a state that is never reached.
 *
 * As there, a list of successors is the set of its entries, which the ring's order makes a list. */
module Ring

open util/ordering[Node]

sig Node {}

abstract sig State {
    member: set Node,
    list: Node -> Node
}
one sig Before, After extends State {}

/* Strictly inside, clockwise from a to b; when a = b everything except a. */
pred between[a, x, b: Node] {
    a = b implies x != a
    else lt[a, b] implies (lt[a, x] and lt[x, b])
    else (lt[a, x] or lt[x, b])
}

pred inSpan[n, x: Node, entries: set Node] { x != n and some y: entries | between[n, x, y] }

pred skips[n: Node, entries: set Node, x: Node] { x not in entries and inSpan[n, x, entries] }

fun headOf[n: Node, entries: set Node]: set Node { { x: entries | no y: entries | between[n, y, x] } }

/* The first r entries. */
fun cut[n: Node, entries: set Node, r: Int]: set Node {
    { x: entries | #{ y: entries | between[n, y, x] } < r }
}

/* What n has behind e, of the list that e shows. */
fun behind[n, e: Node, entries: set Node]: set Node { { x: entries | between[e, x, n] } }

fun principals[s: State]: set Node { { p: s.member | no m: s.member | skips[m, m.(s.list), p] } }

pred wellFormed[s: State, r: Int] {
    all n: Node | n not in n.(s.list) and #n.(s.list) <= r
    no (Node - s.member).(s.list)
}

pred oneLiveSuccessor[s: State] { all m: s.member | some m.(s.list) & s.member }

pred sufficientPrincipals[s: State, r: Int] { #principals[s] > r }

pred invariants[s: State, r: Int] { wellFormed[s, r] and oneLiveSuccessor[s] and sufficientPrincipals[s, r] }

/* Only the list of n is another afterwards. */
pred becomes[n: Node, entries: set Node] {
    After.member = Before.member
    After.list = Before.list - (n -> Node) + (n -> entries)
}

pred join[r: Int] {
    some j: Node - Before.member, m: Before.member {
        #m.(Before.list) = r
        all h: headOf[m, m.(Before.list)] | between[m, j, h]
        After.member = Before.member + j
        After.list = Before.list + (j -> m.(Before.list))
    }
}

pred drop { some n: Before.member, x: n.(Before.list) - Before.member | becomes[n, n.(Before.list) - x] }

/* Whom n may ask: its head, and whoever is closer. */
pred headOrCloser[n, e: Node] {
    e in Before.member - n
    all h: headOf[n, n.(Before.list)] | e = h or between[n, e, h]
}

pred plainCopy[r: Int] {
    some n: Before.member, e: Node {
        headOrCloser[n, e]
        becomes[n, cut[n, e + behind[n, e, e.(Before.list)], r]]
    }
}

pred insertion[r: Int] {
    some n: Before.member, e: Before.member {
        inSpan[n, e, n.(Before.list)]
        becomes[n, cut[n, n.(Before.list) + e, r]]
    }
}

/* Behind the end a name is left out only when it is silent, or all farther ones are left out too. */
pred inTurn[n: Node, names, taken: set Node] {
    all x: taken, y: names | between[n, y, x] implies (y in taken or y not in Before.member)
}

pred unionWith[n, e: Node, taken: set Node, r: Int] {
    let own = n.(Before.list) + e, names = behind[n, e, e.(Before.list)] - own {
        taken in names
        becomes[n, cut[n, own + taken, r]]
    }
}

pred unionEntry[n, e: Node] { e in Before.member and (e in n.(Before.list) or inSpan[n, e, n.(Before.list)]) }

pred byUnion[r: Int] {
    some n: Before.member, e: Node, taken: set Node {
        unionEntry[n, e]
        unionWith[n, e, taken, r]
        let own = n.(Before.list) + e,
            far = { x: behind[n, e, e.(Before.list)] - own | not inSpan[n, x, n.(Before.list)] } |
            inTurn[n, far, taken & far]
    }
}

/* What is not safe. */
pred insertsBehindTheEnd[r: Int] {
    some n: Before.member, e: Node, taken: set Node | unionEntry[n, e] and unionWith[n, e, taken, r]
}

pred dropsAnOwnLivingEntry[r: Int] {
    some n: Before.member, e: headOf[n, n.(Before.list)] & Before.member {
        some z: n.(Before.list) - e - e.(Before.list) |
            becomes[n, cut[n, n.(Before.list) - z + (behind[n, e, e.(Before.list)] & Before.member), r]]
    }
}

pred takesAnothersList[r: Int] {
    some n: Before.member, e: n.(Before.list) & Before.member |
        becomes[n, cut[n, e + behind[n, e, e.(Before.list)], r]]
}

pred keeps[r: Int] { invariants[After, r] }

assert Join2 { invariants[Before, 2] and join[2] implies keeps[2] }
assert Join3 { invariants[Before, 3] and join[3] implies keeps[3] }
assert Drop2 { invariants[Before, 2] and drop implies keeps[2] }
assert Drop3 { invariants[Before, 3] and drop implies keeps[3] }
assert PlainCopy2 { invariants[Before, 2] and plainCopy[2] implies keeps[2] }
assert PlainCopy3 { invariants[Before, 3] and plainCopy[3] implies keeps[3] }
assert Insertion2 { invariants[Before, 2] and insertion[2] implies keeps[2] }
assert Insertion3 { invariants[Before, 3] and insertion[3] implies keeps[3] }
assert Union2 { invariants[Before, 2] and byUnion[2] implies keeps[2] }
assert Union3 { invariants[Before, 3] and byUnion[3] implies keeps[3] }
assert BehindTheEnd { invariants[Before, 2] and insertsBehindTheEnd[2] implies keeps[2] }
assert OwnLivingEntry { invariants[Before, 3] and dropsAnOwnLivingEntry[3] implies keeps[3] }
assert AnothersList { invariants[Before, 2] and takesAnothersList[2] implies keeps[2] }

check Join2 for exactly 7 Node, 4 Int expect 0
check Join3 for exactly 7 Node, 4 Int expect 0
check Drop2 for exactly 7 Node, 4 Int expect 0
check Drop3 for exactly 7 Node, 4 Int expect 0
check PlainCopy2 for exactly 7 Node, 4 Int expect 0
check PlainCopy3 for exactly 7 Node, 4 Int expect 0
check Insertion2 for exactly 7 Node, 4 Int expect 0
check Insertion3 for exactly 7 Node, 4 Int expect 0
check Union2 for exactly 7 Node, 4 Int expect 0
check Union3 for exactly 7 Node, 4 Int expect 0
check BehindTheEnd for exactly 7 Node, 4 Int expect 1
check OwnLivingEntry for exactly 7 Node, 4 Int expect 1
check AnothersList for exactly 7 Node, 4 Int expect 1

/* The states and the steps are there. */
run SomeJoin { invariants[Before, 3] and join[3] } for exactly 7 Node, 4 Int expect 1
run SomeDrop { invariants[Before, 3] and drop } for exactly 7 Node, 4 Int expect 1
run SomeCopy { invariants[Before, 3] and plainCopy[3] and Before.list != After.list } for exactly 7 Node, 4 Int expect 1
run SomeUnion { invariants[Before, 3] and byUnion[3] and Before.list != After.list } for exactly 7 Node, 4 Int expect 1
