"""The ring: joining it, keeping its pointers right, finding places on it."""
