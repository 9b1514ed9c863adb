"""The backends that come with evolteacher."""
