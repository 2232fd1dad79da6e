"""What penalties share."""
