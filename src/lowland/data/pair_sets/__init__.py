"""Sets of pictures with their names: one file, one set."""
