"""Running a study: its grid over processes, its folder, and the index of past runs."""
