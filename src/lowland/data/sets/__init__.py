"""One file is one data set."""
