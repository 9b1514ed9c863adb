"""The operators, filters and seed readers that come with evolteacher; one file a family."""
