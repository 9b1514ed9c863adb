"""The operators, filters, seed readers and benchmarks that come with evolteacher; one file a family."""
