"""llama.cpp in this process: reading GGUF headers, sizing, the server, and a client of it."""
