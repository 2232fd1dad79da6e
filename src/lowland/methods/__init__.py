"""One file is one training method."""
