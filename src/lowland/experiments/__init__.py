"""What studies run: tasks, networks for them, and one run of each. How many of them, and where, is in runs/."""
