"""Linear over-parameterisation: layers as products of several, and back."""
