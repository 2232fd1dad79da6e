"""Answers a method's requests for gradients."""
