"""What is run by hand, for minutes or for ever, to look at a node from outside: ``python -m tools`` lists it."""
