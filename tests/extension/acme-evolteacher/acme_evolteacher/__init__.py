"""A family of plugins of which most are broken."""
