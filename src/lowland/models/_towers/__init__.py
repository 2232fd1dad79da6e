"""Towers of contrastive networks: what is not a classifier of images."""
