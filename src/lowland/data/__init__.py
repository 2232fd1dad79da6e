"""Real data sets, on the device, in reproducible batches."""
