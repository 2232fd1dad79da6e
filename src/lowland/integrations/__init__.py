"""Training loops of other libraries, with a method in place of the plain gradient."""
