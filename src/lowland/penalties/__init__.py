"""One file is one loss term or one rule around the optimiser's step; each composes with any method."""
