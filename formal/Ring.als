/* The steps of a ring with lists of successors, from every state that keeps the invariants.
 *
 * Ring.tla begins with an ideal ring and goes wherever the steps lead, with few nodes. Here a state is anything that the
 * two invariants allow, reachable or not, and one step follows: if none of them breaks an invariant, none ever will.
 * As there, a list is written as the set of its entries, which ring order makes a list. */
module Ring

open util/ordering[Node] as place

sig Node {
    list, list': set Node
}
var_placeholder
