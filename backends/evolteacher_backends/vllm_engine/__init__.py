"""vLLM's engine: its settings, its processes from start to end, and what its faults mean."""
