"""One file is one published finding."""
