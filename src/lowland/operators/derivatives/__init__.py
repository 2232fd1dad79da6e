"""Ways to multiply with derivatives; one file is one way."""
