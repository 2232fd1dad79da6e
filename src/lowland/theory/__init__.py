"""Closed forms that measurements are held against, one a file."""
