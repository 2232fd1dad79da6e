"""What a study shows: intervals over seeds, verdicts, tables, figures and the page."""
