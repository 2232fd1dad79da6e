"""Looking at a model and leaving no trace."""
