"""Activations whose derivatives can be chosen, and the choice among all."""
