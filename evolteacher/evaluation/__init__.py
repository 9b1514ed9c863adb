"""Measuring a model, or a file of samples, on a benchmark: what is asked, what is run, what came of it."""
