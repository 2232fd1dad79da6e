"""What measurements of the loss share."""
