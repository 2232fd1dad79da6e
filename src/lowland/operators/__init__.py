"""Matrices of a network's loss that can only be multiplied with."""
