"""Training: the one loop, with checkpoints that resume bit for bit."""
