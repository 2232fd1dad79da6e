"""Small networks with named layers."""
