"""What the ``openai-compatible`` backend is made of: addresses, the channel, the wire format, and its faults."""
