"""What follows on a run: measuring base and tuned model, and one summary of all stages."""
