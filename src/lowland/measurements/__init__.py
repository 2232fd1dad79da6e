"""One file is one measurement."""
