"""Records: put, read, looked after by whoever put them, repaired by whoever holds them."""
