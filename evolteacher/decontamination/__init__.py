"""Decontamination: finding a benchmark's problems in texts, and certifying what was looked for and found."""
